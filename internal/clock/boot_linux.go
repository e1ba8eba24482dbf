package clock

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// sleepCheck is how often boot reads CLOCK_BOOTTIME. A machine takes longer than that to
	// go to sleep and to wake up, and Go's clock counts this time.
	sleepCheck = time.Millisecond
	// sleepError is how inexactly boot measures the time that the machine has slept.
	sleepError = 100 * time.Microsecond
)

var (
	// started is when the process started.
	started = time.Now()
	// slept is by how much CLOCK_BOOTTIME is ahead of the time since then, and checked when
	// it was compared last; both in nanoseconds.
	slept, checked atomic.Int64
)

func init() { boot() }

// boot returns how long the machine has been running, sleep included. It is Go's monotonic
// clock, which needs no system call, plus what CLOCK_BOOTTIME had more than that when they
// were last compared.
func boot() int64 {
	now := int64(time.Since(started))
	if last := checked.Load(); last != 0 && now-last < int64(sleepCheck) {
		return now + slept.Load()
	}
	var shows unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &shows) != nil {
		return now // the process is not allowed to read it
	}
	after := int64(time.Since(started))
	ahead := shows.Nano() - after // at the least
	if differs := ahead - slept.Load(); differs > int64(sleepError) || checked.Load() == 0 {
		slept.Store(ahead)
	}
	checked.Store(now)
	return after + slept.Load()
}
