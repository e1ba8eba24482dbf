package fleettest

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clockVariable is shiftVariable of internal/clock: programs built with the tag clockshift read it.
const clockVariable = "AUTHMATERIAL_CLOCK_SHIFT"

// clockFile is the file in a broker's folder through which its clocks are shifted.
const clockFile = "clock"

// clockShift is the content of that file, in nanoseconds.
type clockShift struct{ sleep, wall atomic.Int64 }

// newClockShift makes the file of a broker.
func (b *Broker) newClockShift() *clockShift {
	b.t.Helper()
	const size = int(unsafe.Sizeof(clockShift{}))
	file, err := os.Create(filepath.Join(b.folder, clockFile))
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := file.Truncate(int64(size)); err != nil {
		b.t.Fatal(err)
	}
	data, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = unix.Munmap(data) })
	return (*clockShift)(unsafe.Pointer(unsafe.SliceData(data)))
}

// Sleep has the broker find that its machine slept for the time d: its boot clock and its wall
// clock are ahead by as much, and its timers are not. Redis and the provider do not sleep: for
// them no time passes. It takes effect at once, also after a restart of the broker.
func (b *Broker) Sleep(d time.Duration) { b.clock.sleep.Add(int64(d)) }

// CorrectClock moves the broker's wall clock by d, which may be negative, and nothing else. It
// takes effect at once, also after a restart of the broker.
func (b *Broker) CorrectClock(d time.Duration) { b.clock.wall.Add(int64(d)) }

// WallTime returns what the broker's wall clock shows.
func (b *Broker) WallTime() time.Time {
	return time.Now().Add(time.Duration(b.clock.sleep.Load() + b.clock.wall.Load()))
}
