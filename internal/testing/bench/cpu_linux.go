package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the CPU time that a process has used. It asks the kernel, because the metric for
// CPU time has a resolution of 10 ms, too coarse for one round of the benchmark.
func cpuTime(process int) (time.Duration, error) {
	const ofProcess = 2                            // CPUCLOCK_SCHED of the kernel, for the whole process
	clock := int32(^process)<<3 | int32(ofProcess) //nolint:gosec // a process ID has 22 bits
	var used unix.Timespec
	if err := unix.ClockGettime(clock, &used); err != nil {
		return 0, fmt.Errorf("read the CPU time of process %d: %w", process, err)
	}
	return time.Duration(used.Nano()), nil
}
