package clock

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// sleepCheck is how often boot reads CLOCK_BOOTTIME. Going to sleep and waking up takes a
// machine longer than sleepCheck, and Go's clock counts that time.
const sleepCheck = time.Millisecond

var (
	// started is when the process started.
	started = time.Now()
	// ahead is CLOCK_BOOTTIME minus the time since started. checked is the time since started
	// when both clocks were last compared. Both variables are in nanoseconds.
	ahead, checked atomic.Int64
)

func init() {
	checked.Store(-int64(sleepCheck))
	boot()
}

// boot returns how long the machine has been running, including sleep. The result is Go's
// monotonic clock, which needs no system call, plus the difference between CLOCK_BOOTTIME and
// Go's clock when both were last compared.
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
	// CLOCK_BOOTTIME was read first, so the true difference is at least this one. It never
	// shrinks.
	if known, found := ahead.Load(), shows.Nano()-now; found > known {
		ahead.CompareAndSwap(known, found)
	}
	checked.Store(now)
	return now + ahead.Load()
}
