package clock

import (
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// checkInterval is the interval at which a running timer compares its end with the Clock. Go's
// timers stop while the machine sleeps, so a timer fires up to checkInterval late after a sleep.
const checkInterval = 5 * time.Second

// timer is a clockwork.Timer that follows a Clock. The timer contains an inner Go timer, which
// fires at the end of the outer timer, or after checkInterval if that is sooner.
type timer struct {
	clock *Clock
	call  func()         // nil if NewTimer made the timer
	ticks chan time.Time // nil if AfterFunc made the timer
	inner *time.Timer

	mu      sync.Mutex
	running bool
	end     time.Time
}

// AfterFunc calls the function f in its own goroutine, when the duration d has passed.
func (c *Clock) AfterFunc(d time.Duration, f func()) clockwork.Timer {
	return newTimer(&timer{clock: c, call: f}, d)
}

// NewTimer returns a timer that sends the current time on its channel, when the duration d has
// passed.
func (c *Clock) NewTimer(d time.Duration) clockwork.Timer {
	return newTimer(&timer{clock: c, ticks: make(chan time.Time, 1)}, d)
}

// After returns a channel that receives the current time when the duration d has passed.
func (c *Clock) After(d time.Duration) <-chan time.Time { return c.NewTimer(d).Chan() }

// Sleep waits until the duration d has passed.
func (c *Clock) Sleep(d time.Duration) { <-c.After(d) }

func newTimer(t *timer, d time.Duration) *timer {
	t.inner = time.AfterFunc(checkInterval, t.check)
	t.Reset(d)
	return t
}

// Chan returns the channel of the timer, if NewTimer made the timer.
func (t *timer) Chan() <-chan time.Time { return t.ticks }

// Stop stops the timer and empties its channel. The result is true if the timer was running.
func (t *timer) Stop() bool { return t.set(false, 0) }

// Reset starts the timer again and empties its channel. The result is true if the timer was
// running.
func (t *timer) Reset(d time.Duration) bool { return t.set(true, d) }

func (t *timer) set(running bool, d time.Duration) (ran bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.ticks:
	default:
	}
	ran, t.running = t.running, running
	if running {
		t.end = t.clock.Now().Add(d)
		t.inner.Reset(min(d, checkInterval))
	} else {
		t.inner.Stop()
	}
	return ran
}

// check fires the timer if its end has come. The Go timer inside may still call
// `check` after the methods Stop or Reset; such a call has no effect.
func (t *timer) check() {
	t.mu.Lock()
	now := t.clock.Now()
	left := t.end.Sub(now)
	fires := t.running && left <= 0
	switch {
	case fires:
		t.running = false
		if t.ticks != nil {
			t.ticks <- now // cannot block, because the method `set` has emptied the channel
		}
	case t.running:
		t.inner.Reset(min(left, checkInterval))
	}
	t.mu.Unlock()
	if fires && t.call != nil {
		t.call()
	}
}
