// Package clock measures lifetimes. Its Clock counts the time for which the machine sleeps,
// and does not go back when somebody corrects the time of day.
package clock

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// tolerance is how far the boot clock and the wall clock may drift apart before a Clock
// takes that for a correction of the wall clock.
const tolerance = 100 * time.Millisecond

// Reading returns what a clock of the machine shows, in nanoseconds since a moment that
// never changes.
type Reading func() int64

// Clock is a clockwork.Clock for lifetimes. It advances with the machine's boot clock, which
// includes sleep where the system has CLOCK_BOOTTIME. When the wall clock is set forward,
// the Clock advances by as much: the machine may have slept without counting it. When the
// wall clock is set back, the Clock does not follow; use Wall for times that others read.
//
// Its timers keep to the Clock: after a sleep those that are overdue fire within
// checkInterval. Its tickers are Go's own.
type Clock struct {
	clockwork.Clock // tickers alone

	boot, wall Reading
	offsets    atomic.Pointer[offsets]
	moving     sync.Mutex // held while offsets change
	timers     timers
}

// offsets are what to add to a reading of the boot clock. They do not change once made.
type offsets struct {
	clock int64 // gives the Clock's time
	wall  int64 // gives the wall clock's reading
}

// New returns a Clock that reads the machine's clocks.
func New() *Clock { return NewFrom(bootReading, wallReading) }

// NewFrom returns a Clock that reads these clocks: for tests.
func NewFrom(boot, wall Reading) *Clock {
	c := &Clock{Clock: clockwork.NewRealClock(), boot: boot, wall: wall}
	now := wall() - boot()
	c.offsets.Store(&offsets{clock: now, wall: now})
	return c
}

// Now returns the time. It has no monotonic reading: only times of the same Clock may be
// compared with it.
func (c *Clock) Now() time.Time {
	boot, wall := c.boot(), c.wall()
	current := c.offsets.Load()
	if apart := wall - boot - current.wall; apart > int64(tolerance) || apart < -int64(tolerance) {
		boot, current = c.follow()
	}
	return time.Unix(0, boot+current.clock)
}

// follow takes a correction of the wall clock into account, if there was one: the caller may
// have been interrupted between its two readings. It returns a new reading of the boot clock.
func (c *Clock) follow() (int64, *offsets) {
	c.moving.Lock()
	defer c.moving.Unlock()
	before := c.boot()
	wall := c.wall()
	after := c.boot()
	current := c.offsets.Load()
	// The correction is between these two.
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

// wall returns what the machine's wall clock shows.
func wall() int64 { return time.Now().UnixNano() }

// Wall converts a time of the Clock into what the wall clock shows at that time, as it is set
// now. The zero time stays zero. Equal times convert to equal ones until the wall clock is
// corrected.
func (c *Clock) Wall(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	current := c.offsets.Load()
	return t.Add(time.Duration(current.wall - current.clock))
}

// Since returns how long ago t was.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Until returns how long it takes until t.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Wall converts a time of any clock into wall-clock time.
func Wall(clock clockwork.Clock, t time.Time) time.Time { return WallOf(clock)(t) }

// WallOf returns what converts times of a clock into wall-clock time. A clock that has no method Wall
// shows wall-clock time itself.
func WallOf(clock clockwork.Clock) func(time.Time) time.Time {
	if converting, ok := clock.(interface{ Wall(time.Time) time.Time }); ok {
		return converting.Wall
	}
	return func(t time.Time) time.Time { return t }
}

// WallNow returns the wall-clock time, for comparing with times that others set: the end of
// a certificate, for example.
func WallNow(clock clockwork.Clock) time.Time { return Wall(clock, clock.Now()) }

// ForWaiting returns the clock for waits that go by real time even where a test sets the
// clock: the clock itself if it is a Clock, and otherwise Go's own.
func ForWaiting(clock clockwork.Clock) clockwork.Clock {
	if counting, ok := clock.(*Clock); ok {
		return counting
	}
	return clockwork.NewRealClock()
}
