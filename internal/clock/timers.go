package clock

import (
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// checkInterval is how often a running timer compares its end with the Clock. Go's timers stop
// while the machine sleeps, so after a sleep a timer is late by this much at most.
const checkInterval = 5 * time.Second

// timer is a clockwork.Timer that follows a Clock. Its inner timer fires when the timer ends, or
// after checkInterval if that is sooner.
type timer struct {
	clock *Clock
	call  func()         // nil for a timer of NewTimer
	ticks chan time.Time // nil for a timer of AfterFunc
	inner *time.Timer

	mu      sync.Mutex
	running bool
	end     time.Time
}

// AfterFunc calls f in a goroutine of its own after the time d.
func (c *Clock) AfterFunc(d time.Duration, f func()) clockwork.Timer {
	return (&timer{clock: c, call: f}).start(d)
}

// NewTimer returns a timer that sends the time on its channel after the time d.
func (c *Clock) NewTimer(d time.Duration) clockwork.Timer {
	return (&timer{clock: c, ticks: make(chan time.Time, 1)}).start(d)
}

// After returns a channel that receives the time after the time d.
func (c *Clock) After(d time.Duration) <-chan time.Time { return c.NewTimer(d).Chan() }

// Sleep returns after the time d.
func (c *Clock) Sleep(d time.Duration) { <-c.After(d) }

// start starts a new timer.
func (t *timer) start(d time.Duration) *timer {
	t.inner = time.AfterFunc(checkInterval, t.check)
	t.Reset(d)
	return t
}

// Chan returns the channel of a timer of NewTimer.
func (t *timer) Chan() <-chan time.Time { return t.ticks }

// Stop stops the timer, empties its channel, and reports whether it was running.
func (t *timer) Stop() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inner.Stop()
	return t.halt()
}

// Reset starts the timer again, empties its channel, and reports whether it was running.
func (t *timer) Reset(d time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ran := t.halt()
	t.running, t.end = true, t.clock.Now().Add(d)
	t.inner.Reset(min(d, checkInterval))
	return ran
}

// halt is the part that Stop and Reset share. The caller holds mu.
func (t *timer) halt() (ran bool) {
	select {
	case <-t.ticks:
	default:
	}
	ran, t.running = t.running, false
	return ran
}

// check fires the timer if it is due, and waits on if it is not. The inner timer may call it
// after a Stop or a Reset; it does no harm then.
func (t *timer) check() {
	if t.due() && t.call != nil {
		t.call()
	}
}

// due ends a timer that is due, sends its time, and reports true.
func (t *timer) due() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.running {
		return false
	}
	now := t.clock.Now()
	if left := t.end.Sub(now); left > 0 {
		t.inner.Reset(min(left, checkInterval))
		return false
	}
	t.running = false
	if t.ticks != nil {
		t.ticks <- now // halt emptied it before this run
	}
	return true
}
