// Package clock measures lifetimes. Its Clock counts the time for which the machine sleeps, and
// does not go back when the time of day is corrected.
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
// counts sleep where the system has CLOCK_BOOTTIME. When the wall clock is set forward, the
// Clock advances by as much: the machine may have slept without counting it. When the wall clock
// is set back, the Clock does not follow; use Wall for times that are sent or logged.
//
// Its timers follow the Clock: after a sleep, timers that are overdue fire within checkInterval.
// Its tickers do not: they are Go's own.
type Clock struct {
	clockwork.Clock // for NewTicker; every other method is overridden

	boot, wall func() int64 // in nanoseconds since a moment that never changes
	offsets    atomic.Pointer[offsets]
	correcting sync.Mutex // held while offsets change
}

// offsets are what to add to a reading of the boot clock. They are not changed once made.
type offsets struct {
	clock int64 // for the Clock's time
	wall  int64 // for the wall clock's reading
}

// bootReading and wallReading are the clocks of New. Brokers that fleettest builds shift them.
var bootReading, wallReading = boot, wall

// wall returns the reading of the machine's wall clock.
func wall() int64 { return time.Now().UnixNano() }

// New returns a Clock that reads the machine's clocks.
func New() *Clock { return NewFrom(bootReading, wallReading) }

// NewFrom returns a Clock that reads these clocks, in nanoseconds: for tests.
func NewFrom(boot, wall func() int64) *Clock {
	c := &Clock{Clock: clockwork.NewRealClock(), boot: boot, wall: wall}
	now := wall() - boot()
	c.offsets.Store(&offsets{clock: now, wall: now})
	return c
}

// Now returns the time. It has no monotonic reading: compare it with times of the same Clock
// alone.
func (c *Clock) Now() time.Time {
	boot, wall := c.boot(), c.wall()
	current := c.offsets.Load()
	if apart := wall - boot - current.wall; apart > int64(tolerance) || apart < -int64(tolerance) {
		boot, current = c.correct()
	}
	return time.Unix(0, boot+current.clock)
}

// correct adapts the offsets to a correction of the wall clock, and returns them with a new
// reading of the boot clock. They stay the same if there was no correction: the caller may have
// been interrupted between its two readings.
func (c *Clock) correct() (int64, *offsets) {
	c.correcting.Lock()
	defer c.correcting.Unlock()
	before, wall, after := c.boot(), c.wall(), c.boot()
	current := c.offsets.Load()
	// The correction is between least and most.
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

// Since returns how long ago t was.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Until returns how long it takes until t.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Wall converts a time of the Clock into the reading of the wall clock at that time, as the wall
// clock is set now. The zero time stays zero. Equal times convert to equal ones until the wall
// clock is corrected.
func (c *Clock) Wall(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	current := c.offsets.Load()
	return t.Add(time.Duration(current.wall - current.clock))
}

// WallOf returns the function that converts times of a clock into wall-clock time. The times of
// any clock but a Clock are wall-clock time already.
func WallOf(clock clockwork.Clock) func(time.Time) time.Time {
	if c, ok := clock.(*Clock); ok {
		return c.Wall
	}
	return func(t time.Time) time.Time { return t }
}

// Wall converts a time of any clock into wall-clock time.
func Wall(clock clockwork.Clock, t time.Time) time.Time { return WallOf(clock)(t) }

// WallNow returns the wall-clock time. Compare it with times that others set, such as the end of
// a certificate.
func WallNow(clock clockwork.Clock) time.Time { return Wall(clock, clock.Now()) }

// ForWaiting returns the clock for waits that take real time even where a test sets the clock:
// the clock itself if it is a Clock, and Go's own otherwise.
func ForWaiting(clock clockwork.Clock) clockwork.Clock {
	if c, ok := clock.(*Clock); ok {
		return c
	}
	return clockwork.NewRealClock()
}
