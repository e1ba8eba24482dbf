//go:build clockshift

package clock

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ShiftVariable names the environment variable that holds the path of a file with two shifts:
// for tests of processes, whose clocks nobody can set. The product is built without the tag
// clockshift, and has no such variable.
const ShiftVariable = "AUTHMATERIAL_CLOCK_SHIFT"

// shifts are the content of the file: by how many nanoseconds the machine has slept, and the
// wall clock was corrected. Both are zero without a file.
var shifts = mapShifts(os.Getenv(ShiftVariable))

type shiftValues struct{ sleep, wall atomic.Int64 }

func mapShifts(path string) *shiftValues {
	if path == "" {
		return new(shiftValues)
	}
	file, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	data, err := unix.Mmap(int(file.Fd()), 0, int(unsafe.Sizeof(shiftValues{})), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*shiftValues)(unsafe.Pointer(unsafe.SliceData(data)))
}

func bootReading() int64 { return boot() + shifts.sleep.Load() }

func wallReading() int64 {
	return wall() + shifts.sleep.Load() + shifts.wall.Load()
}
