//go:build clockshift

package clock

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shiftVariable names the environment variable with the path of a file of shifts. Tests of
// processes shift the clocks of a broker that way; the product is built without the tag.
const shiftVariable = "AUTHMATERIAL_CLOCK_SHIFT"

// shifts are the content of the file, in nanoseconds: how long the machine has slept, and by how
// much the wall clock was corrected.
type shifts struct{ sleep, wall atomic.Int64 }

func init() {
	path := os.Getenv(shiftVariable)
	if path == "" {
		return
	}
	file, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	data, err := unix.Mmap(int(file.Fd()), 0, int(unsafe.Sizeof(shifts{})), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	now := (*shifts)(unsafe.Pointer(unsafe.SliceData(data)))
	bootReading = func() int64 { return boot() + now.sleep.Load() }
	wallReading = func() int64 { return wall() + now.sleep.Load() + now.wall.Load() }
}
