package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the CPU time that a process has used, as the kernel reports it. The metric for
// CPU time has a resolution of 10 ms, which is too coarse for one round of the benchmark.
func cpuTime(process int) (time.Duration, error) {
	const ofProcess = 2                            // the kernel's constant CPUCLOCK_SCHED
	clock := int32(^process)<<3 | int32(ofProcess) //nolint:gosec // a process ID has at most 22 bits
	var used unix.Timespec
	if err := unix.ClockGettime(clock, &used); err != nil {
		return 0, fmt.Errorf("read the CPU time of process %d: %w", process, err)
	}
	return time.Duration(used.Nano()), nil
}
