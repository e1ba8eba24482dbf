package clock

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// sleepCheck is how often boot reads CLOCK_BOOTTIME. A machine takes longer than that to go to
// sleep and to wake up, and Go's clock counts this time.
const sleepCheck = time.Millisecond

var (
	// started is when the process started.
	started = time.Now()
	// ahead is by how much CLOCK_BOOTTIME exceeds the time since started, and checked when both
	// were last compared, as a time since started; in nanoseconds.
	ahead, checked atomic.Int64
)

func init() {
	checked.Store(-int64(sleepCheck))
	boot()
}

// boot returns how long the machine has been running, sleep included. It is Go's monotonic
// clock, which needs no system call, plus its distance to CLOCK_BOOTTIME when both were last
// compared.
func boot() int64 {
	now := int64(time.Since(started))
	if now-checked.Load() < int64(sleepCheck) {
		return now + ahead.Load()
	}
	var shows unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &shows) != nil {
		return now // the process is not allowed to read it
	}
	now = int64(time.Since(started))
	// The distance is at least this. It only grows.
	if known, found := ahead.Load(), shows.Nano()-now; found > known {
		ahead.CompareAndSwap(known, found)
	}
	checked.Store(now)
	return now + ahead.Load()
}
