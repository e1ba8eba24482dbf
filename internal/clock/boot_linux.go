package clock

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// sleepCheck is how often boot reads CLOCK_BOOTTIME. A machine needs more time than sleepCheck to
// fall asleep and wake up, and Go's clock counts that time.
const sleepCheck = time.Millisecond

var (
	started = time.Now()
	// The variable `ahead` is CLOCK_BOOTTIME minus the time since the process started, in
	// nanoseconds. The variable `checked` is the age of the process at the latest comparison of
	// both clocks, in nanoseconds.
	ahead, checked atomic.Int64
)

func init() {
	checked.Store(-int64(sleepCheck))
	boot()
}

// boot returns how long the machine has been running, including sleep. To save system calls, the
// result is Go's monotonic clock plus the difference to CLOCK_BOOTTIME at the latest comparison.
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
	// The difference of the clocks never shrinks. Because CLOCK_BOOTTIME is read before Go's clock,
	// `found` is never more than the true difference, but may be less.
	if known, found := ahead.Load(), shows.Nano()-now; found > known {
		ahead.CompareAndSwap(known, found)
	}
	checked.Store(now)
	return now + ahead.Load()
}
