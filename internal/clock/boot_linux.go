package clock

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// sleepCheck is the interval at which the function `boot` reads CLOCK_BOOTTIME. A machine needs
// more time than sleepCheck to go to sleep and wake up, and Go's clock counts that time.
const sleepCheck = time.Millisecond

var (
	// started is the time at which the process started.
	started = time.Now()
	// The variable `ahead` is the value of CLOCK_BOOTTIME minus the time since the process
	// started. The variable `checked` is the time from the start of the process until the latest
	// comparison of both clocks. Both variables are in nanoseconds.
	ahead, checked atomic.Int64
)

func init() {
	checked.Store(-int64(sleepCheck))
	boot()
}

// boot returns how long the machine has been running, including the time
// during which it slept. The result is the sum of two values: Go's monotonic clock, which needs
// no system call, and the difference between CLOCK_BOOTTIME and Go's clock at their latest
// comparison.
func boot() int64 {
	now := int64(time.Since(started))
	if now-checked.Load() < int64(sleepCheck) {
		return now + ahead.Load()
	}
	var shows unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &shows) != nil {
		return now // the process is not allowed to read CLOCK_BOOTTIME
	}
	now = int64(time.Since(started))
	// CLOCK_BOOTTIME was read before Go's clock, so the true difference is at least the computed
	// difference. The true difference never shrinks.
	if known, found := ahead.Load(), shows.Nano()-now; found > known {
		ahead.CompareAndSwap(known, found)
	}
	checked.Store(now)
	return now + ahead.Load()
}
