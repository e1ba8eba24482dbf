package fleettest

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clockVariable is the environment variable that contains the path of the clock file. The code
// in testdata/clockshift.go reads the variable and the file.
const clockVariable = "AUTHMATERIAL_CLOCK_SHIFT"

// clockFile is the name of a file in a broker's folder. The content of this file shifts the
// broker's clocks.
const clockFile = "clock"

// clockShift is the content of a broker's clock file: two durations in nanoseconds.
type clockShift struct{ sleep, wall atomic.Int64 }

// newClockShift creates the clock file of a broker.
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

// Sleep simulates that the broker's machine slept for the duration d. The broker's boot clock
// and wall clock jump forward by d, but its timers do not. For Redis and the provider no time
// passes. The shift takes effect at once, and stays in effect after a restart of the broker.
func (b *Broker) Sleep(d time.Duration) { b.clock.sleep.Add(int64(d)) }

// CorrectClock moves the broker's wall clock, and no other clock, by the duration d, which may
// be negative. The shift takes effect at once, and stays in effect after a restart of the
// broker.
func (b *Broker) CorrectClock(d time.Duration) { b.clock.wall.Add(int64(d)) }

// WallTime returns the time of the broker's wall clock.
func (b *Broker) WallTime() time.Time {
	return time.Now().Add(time.Duration(b.clock.sleep.Load() + b.clock.wall.Load()))
}
