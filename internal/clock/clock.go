// Package clock provides a clock for measuring lifetimes. The clock advances while the machine
// sleeps, and does not go back when the machine's time of day is corrected.
package clock

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// tolerance is the largest difference between the advance of the boot clock and the advance of the
// wall clock that is not treated as a correction of the wall clock.
const tolerance = 100 * time.Millisecond

// Clock is a clockwork.Clock for measuring lifetimes. A Clock advances with the machine's boot
// clock, which also counts sleep on systems that have CLOCK_BOOTTIME. When the wall clock is set
// forward, the Clock advances by the same time, because the boot clock may have missed a sleep.
// When the wall clock is set back, the Clock does not go back. Use the method Wall for times that
// are sent or logged.
//
// The Clock's timers also count sleep: overdue timers fire within checkInterval after the machine
// wakes up. The Clock's tickers are Go's own tickers, which do not count sleep.
type Clock struct {
	clockwork.Clock // the embedded clock provides NewTicker; all other methods are overridden

	boot, wall func() int64 // nanoseconds since a fixed moment
	offsets    atomic.Pointer[offsets]
	correcting sync.Mutex // mutex that is locked while the offsets change
}

// offsets contains immutable durations that are added to a reading of the boot clock.
type offsets struct {
	clock int64 // the time of the Clock minus the reading of the boot clock
	wall  int64 // the reading of the wall clock minus the reading of the boot clock
}

// bootReading and wallReading read the machine's clocks. The tool fleettest builds brokers that
// have other functions here, to simulate corrected clocks and sleep.
var bootReading, wallReading = boot, wall

func wall() int64 { return time.Now().UnixNano() }

// New returns a Clock that reads the clocks of the machine.
func New() *Clock { return NewFrom(bootReading, wallReading) }

// NewFrom returns a Clock that reads the boot clock and the wall clock by the given functions, in
// nanoseconds. Only tests need NewFrom.
func NewFrom(boot, wall func() int64) *Clock {
	c := &Clock{Clock: clockwork.NewRealClock(), boot: boot, wall: wall}
	now := wall() - boot()
	c.offsets.Store(&offsets{clock: now, wall: now})
	return c
}

// Now returns the current time of the Clock. The returned time has no monotonic reading, so
// compare it only with times of the same Clock.
func (c *Clock) Now() time.Time {
	boot, wall := c.boot(), c.wall()
	current := c.offsets.Load()
	if apart := wall - boot - current.wall; apart > int64(tolerance) || apart < -int64(tolerance) {
		boot, current = c.correct()
	}
	return time.Unix(0, boot+current.clock)
}

// The method `correct` updates the offsets if the wall clock was corrected, and returns a new
// reading of the boot clock and the offsets. Differences up to the tolerance do not count as
// corrections, because an interruption between the two readings also causes a small difference.
func (c *Clock) correct() (int64, *offsets) {
	c.correcting.Lock()
	defer c.correcting.Unlock()
	before, wall, after := c.boot(), c.wall(), c.boot()
	current := c.offsets.Load()
	// The size of the correction is between `least` and `most`.
	least, most := wall-after-current.wall, wall-before-current.wall
	switch {
	case least > int64(tolerance):
		current = &offsets{clock: current.clock + least, wall: current.wall + least}
	case most < -int64(tolerance):
		current = &offsets{clock: current.clock, wall: current.wall + most}
	}
	c.offsets.Store(current)
	return after, current
}

// Since returns the duration from t until now.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Until returns the duration from now until t.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Wall converts a time of the Clock into wall-clock time, by the present setting of the wall clock.
// The zero time stays zero. Until the next correction of the wall clock, the result for the same t
// is always the same.
func (c *Clock) Wall(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	current := c.offsets.Load()
	return t.Add(time.Duration(current.wall - current.clock))
}

// WallOf returns a function that converts the times of a clock into wall-clock times. The times of
// a clock that is not a *Clock are wall-clock times already.
func WallOf(clock clockwork.Clock) func(time.Time) time.Time {
	if c, ok := clock.(*Clock); ok {
		return c.Wall
	}
	return func(t time.Time) time.Time { return t }
}

// Wall converts a time of the given clock into wall-clock time.
func Wall(clock clockwork.Clock, t time.Time) time.Time { return WallOf(clock)(t) }

// WallNow returns the current wall-clock time. Use WallNow for comparisons with times from other
// systems, such as the expiry of a certificate.
func WallNow(clock clockwork.Clock) time.Time { return Wall(clock, clock.Now()) }

// ForWaiting returns the clock by which to wait. If the argument is a *Clock, ForWaiting returns
// it. Any other clock belongs to a test and may stand still, so ForWaiting returns Go's own clock
// instead.
func ForWaiting(clock clockwork.Clock) clockwork.Clock {
	if c, ok := clock.(*Clock); ok {
		return c
	}
	return clockwork.NewRealClock()
}
