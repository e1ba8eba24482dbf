package clock

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shifts contains two durations in nanoseconds: how long the machine slept, and by how much its
// wall clock was corrected.
type shifts struct{ sleep, wall atomic.Int64 }

// init shifts the clocks by the durations in the file that an environment variable names. Package
// fleettest compiles this source file into package clock of its brokers, but the product does not
// contain it.
func init() {
	path := os.Getenv("AUTHMATERIAL_CLOCK_SHIFT")
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
