package clock

import (
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// checkInterval is how often a running timer compares its end with the Clock. Go's timers stop
// while the machine sleeps, so a timer fires up to checkInterval late after a sleep.
const checkInterval = 5 * time.Second

// timer is a clockwork.Timer that follows a Clock. A Go timer inside fires when the outer timer
// ends, or after checkInterval if that is sooner.
type timer struct {
	clock *Clock
	call  func()         // nil if NewTimer made the timer
	ticks chan time.Time // nil if AfterFunc made the timer
	inner *time.Timer

	mu      sync.Mutex
	running bool
	end     time.Time
}

// AfterFunc calls f in its own goroutine after the duration d.
func (c *Clock) AfterFunc(d time.Duration, f func()) clockwork.Timer {
	return newTimer(&timer{clock: c, call: f}, d)
}

// NewTimer returns a timer that sends the current time on its channel after the duration d.
func (c *Clock) NewTimer(d time.Duration) clockwork.Timer {
	return newTimer(&timer{clock: c, ticks: make(chan time.Time, 1)}, d)
}

// After returns a channel that receives the current time after the duration d.
func (c *Clock) After(d time.Duration) <-chan time.Time { return c.NewTimer(d).Chan() }

// Sleep waits for the duration d.
func (c *Clock) Sleep(d time.Duration) { <-c.After(d) }

func newTimer(t *timer, d time.Duration) *timer {
	t.inner = time.AfterFunc(checkInterval, t.check)
	t.Reset(d)
	return t
}

// Chan returns the timer's channel, which is nil if AfterFunc made the timer.
func (t *timer) Chan() <-chan time.Time { return t.ticks }

// Stop stops the timer, empties its channel, and reports whether the timer was running.
func (t *timer) Stop() bool { return t.set(false, 0) }

// Reset starts the timer again, empties its channel, and reports whether the timer was running.
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

// check fires the timer if its end has come. The inner timer may still call check after Stop or
// Reset; such a call has no effect.
func (t *timer) check() {
	t.mu.Lock()
	now := t.clock.Now()
	left := t.end.Sub(now)
	fires := t.running && left <= 0
	switch {
	case fires:
		t.running = false
		if t.ticks != nil {
			t.ticks <- now // the send cannot block, because the channel was emptied when the timer was set
		}
	case t.running:
		t.inner.Reset(min(left, checkInterval))
	}
	t.mu.Unlock()
	if fires && t.call != nil {
		t.call()
	}
}
