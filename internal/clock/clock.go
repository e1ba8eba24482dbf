// Package clock provides a clock for lifetimes. The Clock includes the time during which the
// machine sleeps, and does not go back when the machine's time of day is corrected.
package clock

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// tolerance is how far the boot clock and the wall clock may drift apart before a Clock treats
// the difference as a correction of the wall clock.
const tolerance = 100 * time.Millisecond

// Clock is a clockwork.Clock for lifetimes. It advances with the machine's boot clock, which
// includes sleep on systems that have CLOCK_BOOTTIME. When the wall clock is set forward, the
// Clock advances by the same time, because the boot clock may have missed a sleep. When the wall
// clock is set back, the Clock does not go back. Use Wall for times that are sent or logged.
//
// The Clock's timers follow the Clock: after a sleep, overdue timers fire within checkInterval.
// Its tickers are Go's own, and do not follow the Clock.
type Clock struct {
	clockwork.Clock // used for NewTicker; every other method is overridden

	boot, wall func() int64 // return nanoseconds since a fixed moment
	offsets    atomic.Pointer[offsets]
	correcting sync.Mutex // held while the offsets change
}

// offsets are added to a reading of the boot clock. They are immutable.
type offsets struct {
	clock int64 // the Clock's time minus the boot clock's reading
	wall  int64 // the wall clock's reading minus the boot clock's reading
}

// bootReading and wallReading read the clocks that New uses. In brokers that fleettest builds,
// both functions return shifted readings.
var bootReading, wallReading = boot, wall

// wall returns the reading of the machine's wall clock.
func wall() int64 { return time.Now().UnixNano() }

// New returns a Clock that reads the machine's clocks.
func New() *Clock { return NewFrom(bootReading, wallReading) }

// NewFrom returns a Clock that reads these clocks, in nanoseconds. It is for tests.
func NewFrom(boot, wall func() int64) *Clock {
	c := &Clock{Clock: clockwork.NewRealClock(), boot: boot, wall: wall}
	now := wall() - boot()
	c.offsets.Store(&offsets{clock: now, wall: now})
	return c
}

// Now returns the time. The result has no monotonic reading: compare it only with times of the
// same Clock.
func (c *Clock) Now() time.Time {
	boot, wall := c.boot(), c.wall()
	current := c.offsets.Load()
	if apart := wall - boot - current.wall; apart > int64(tolerance) || apart < -int64(tolerance) {
		boot, current = c.correct()
	}
	return time.Unix(0, boot+current.clock)
}

// correct updates the offsets if the wall clock was corrected. It returns a new reading of the
// boot clock, and the offsets. Without a correction the offsets stay the same: the caller may
// only have been interrupted between its two readings.
func (c *Clock) correct() (int64, *offsets) {
	c.correcting.Lock()
	defer c.correcting.Unlock()
	before, wall, after := c.boot(), c.wall(), c.boot()
	current := c.offsets.Load()
	// The size of the correction is between least and most.
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

// Since returns the time from t until now.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Until returns the time from now until t.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Wall converts a time of the Clock into wall-clock time, according to the present setting of
// the wall clock. The zero time stays zero. Until the next correction of the wall clock, equal
// times are converted into equal times.
func (c *Clock) Wall(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	current := c.offsets.Load()
	return t.Add(time.Duration(current.wall - current.clock))
}

// WallOf returns a function that converts times of a clock into wall-clock time. If the clock is
// not a Clock, its times already are wall-clock times.
func WallOf(clock clockwork.Clock) func(time.Time) time.Time {
	if c, ok := clock.(*Clock); ok {
		return c.Wall
	}
	return func(t time.Time) time.Time { return t }
}

// Wall converts a time of any clock into wall-clock time.
func Wall(clock clockwork.Clock, t time.Time) time.Time { return WallOf(clock)(t) }

// WallNow returns the wall-clock time. Compare it with times from other systems, such as the
// expiry of a certificate.
func WallNow(clock clockwork.Clock) time.Time { return Wall(clock, clock.Now()) }

// ForWaiting returns a clock for waiting. If the argument is a Clock, ForWaiting returns it.
// Otherwise it returns Go's own clock, so that waits take real time even if a test sets the
// clock.
func ForWaiting(clock clockwork.Clock) clockwork.Clock {
	if c, ok := clock.(*Clock); ok {
		return c
	}
	return clockwork.NewRealClock()
}
