package fleettest

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clockVariable is the environment variable with the path of the clock file. The code in
// testdata/clockshift.go reads the variable and the file.
const clockVariable = "AUTHMATERIAL_CLOCK_SHIFT"

// clockFile is a file in a broker's folder whose content shifts the broker's clocks.
const clockFile = "clock"

// clockShift is the content of a clock file: two durations in nanoseconds.
type clockShift struct{ sleep, wall atomic.Int64 }

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

// Sleep simulates that the broker's machine slept for d: the broker's boot clock and wall clock
// jump forward, but its timers do not. No time passes for Redis and the provider. The shift also
// applies after a restart of the broker.
func (b *Broker) Sleep(d time.Duration) { b.clock.sleep.Add(int64(d)) }

// CorrectClock moves the broker's wall clock, and no other clock, by d, which may be negative. The
// shift also applies after a restart of the broker.
func (b *Broker) CorrectClock(d time.Duration) { b.clock.wall.Add(int64(d)) }

// WallTime returns the time of the broker's wall clock.
func (b *Broker) WallTime() time.Time {
	return time.Now().Add(time.Duration(b.clock.sleep.Load() + b.clock.wall.Load()))
}
