package clock

import (
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// checkInterval is how often a Clock with long timers checks whether the machine slept. Go's
// timers stand still meanwhile, so those for a shorter time need no check.
const checkInterval = 5 * time.Second

// timers are the timers of a Clock.
type timers struct {
	mu   sync.Mutex
	long map[*timer]struct{} // those that run for longer than checkInterval
	// checking says that there are any, and that they are checked after checkInterval.
	checking bool
}

// timer is a clockwork.Timer that keeps to a Clock.
type timer struct {
	clock *Clock
	call  func()         // nil for a timer of NewTimer
	ticks chan time.Time // nil for a timer of AfterFunc

	// The following is guarded by the mu of the Clock's timers.
	at    time.Time
	inner *time.Timer // nil: the timer does not run
}

// AfterFunc calls f in a goroutine of its own after the time d.
func (c *Clock) AfterFunc(d time.Duration, f func()) clockwork.Timer {
	t := &timer{clock: c, call: f}
	t.Reset(d)
	return t
}

// NewTimer returns a timer whose channel gets the time after the time d.
func (c *Clock) NewTimer(d time.Duration) clockwork.Timer {
	t := &timer{clock: c, ticks: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

// After returns a channel that gets the time after the time d.
func (c *Clock) After(d time.Duration) <-chan time.Time { return c.NewTimer(d).Chan() }

// Sleep returns after the time d.
func (c *Clock) Sleep(d time.Duration) { <-c.After(d) }

// Chan returns the channel of a timer of NewTimer.
func (t *timer) Chan() <-chan time.Time { return t.ticks }

// Stop stops the timer, and reports whether it was running.
func (t *timer) Stop() bool {
	t.clock.timers.mu.Lock()
	defer t.clock.timers.mu.Unlock()
	return t.halt()
}

// Reset starts the timer again, and reports whether it was running.
func (t *timer) Reset(d time.Duration) bool {
	t.clock.timers.mu.Lock()
	defer t.clock.timers.mu.Unlock()
	ran := t.halt()
	t.at = t.clock.Now().Add(d)
	t.run(d)
	return ran
}

// run lets the timer fire after the time d. The caller holds the mu of the Clock's timers.
func (t *timer) run(d time.Duration) {
	var own *time.Timer
	own = time.AfterFunc(d, func() {
		if t.fires(&own) && t.call != nil {
			t.call()
		}
	})
	t.inner = own
	if d > checkInterval {
		t.clock.timers.add(t)
	}
}

// fires ends the timer, sends its tick, and reports true; unless inner is no longer the inner
// timer.
func (t *timer) fires(inner **time.Timer) bool {
	t.clock.timers.mu.Lock()
	defer t.clock.timers.mu.Unlock()
	if t.inner != *inner || !t.halt() {
		return false
	}
	if t.ticks != nil {
		t.ticks <- t.clock.Now() // halt has emptied it
	}
	return true
}

// halt ends the timer, and reports whether it was running. Nothing is left in its channel. The
// caller holds the mu of the Clock's timers.
func (t *timer) halt() bool {
	select {
	case <-t.ticks:
	default:
	}
	if t.inner == nil {
		return false
	}
	t.inner.Stop()
	t.inner = nil
	delete(t.clock.timers.long, t)
	return true
}

// add has a timer checked. The caller holds mu.
func (s *timers) add(t *timer) {
	if s.long == nil {
		s.long = map[*timer]struct{}{}
	}
	s.long[t] = struct{}{}
	if !s.checking {
		s.scheduleCheck(t.clock)
	}
}

// scheduleCheck checks the timers after checkInterval. The caller holds mu.
func (s *timers) scheduleCheck(c *Clock) {
	began, running := c.Now(), time.Now()
	s.checking = true
	time.AfterFunc(checkInterval, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		now := c.Now()
		if now.Sub(began)-time.Since(running) > tolerance {
			s.restart(now)
		}
		s.checking = false
		if len(s.long) > 0 {
			s.scheduleCheck(c)
		}
	})
}

// restart runs the timers again for what is left of their time. The caller holds mu.
func (s *timers) restart(now time.Time) {
	long := s.long
	s.long = nil
	for t := range long {
		t.inner.Stop()
		t.run(t.at.Sub(now))
	}
}
