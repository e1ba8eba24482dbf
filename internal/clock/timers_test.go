package clock_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/clock/clocktest"
)

// inBubble runs a test with a simulated machine in a synctest bubble. The function `elapsed`
// returns the time since the start of the test by Go's clock.
func inBubble(t *testing.T, test func(t *testing.T, machine *clocktest.Machine, c *clock.Clock, elapsed func() time.Duration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		machine := clocktest.NewMachine()
		began := time.Now()
		test(t, machine, machine.Clock(), func() time.Duration { return time.Since(began) })
	})
}

func TestTimersCountSleep(t *testing.T) {
	for _, test := range []struct {
		name              string
		sleep, correction time.Duration
		least, most       time.Duration // bounds of the time until a timer of one hour fires
	}{
		{"no sleep", 0, 0, time.Hour, time.Hour},
		{"overdue at the wake", 2 * time.Hour, 0, 0, 5 * time.Second},
		{"due later", 30 * time.Minute, 0, 30 * time.Minute, 30 * time.Minute},
		{"wall clock set forward", 0, 2 * time.Hour, 0, 5 * time.Second},
		{"wall clock set back", 0, -2 * time.Hour, time.Hour, time.Hour},
		{"sleep, and set back by as much", 2 * time.Hour, -2 * time.Hour, 0, 5 * time.Second},
	} {
		wait := map[string]func(c *clock.Clock){
			"AfterFunc": func(c *clock.Clock) {
				done := make(chan struct{})
				c.AfterFunc(time.Hour, func() { close(done) })
				<-done
			},
			"NewTimer": func(c *clock.Clock) { <-c.NewTimer(time.Hour).Chan() },
			"After":    func(c *clock.Clock) { <-c.After(time.Hour) },
			"Sleep":    func(c *clock.Clock) { c.Sleep(time.Hour) },
		}
		for name, wait := range wait {
			t.Run(name+", "+test.name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, machine *clocktest.Machine, c *clock.Clock, elapsed func() time.Duration) {
					go func() {
						synctest.Wait() // returns when the goroutine waits for the timer
						machine.Sleep(test.sleep)
						machine.Correct(test.correction)
					}()
					if wait(c); elapsed() < test.least || elapsed() > test.most {
						t.Errorf("the timer fires after %v, want %v to %v", elapsed(), test.least, test.most)
					}
				})
			})
		}
	}
}

func TestTimerStopsAndStartsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, machine *clocktest.Machine, c *clock.Clock, elapsed func() time.Duration) {
		var fired atomic.Int64
		timer := c.AfterFunc(time.Hour, func() { fired.Add(1) })
		if !timer.Stop() || timer.Stop() {
			t.Error("Stop does not report whether the timer was running")
		}
		machine.Sleep(2 * time.Hour)
		<-time.After(time.Minute)
		if fired.Load() != 0 {
			t.Error("a stopped timer fires")
		}
		if timer.Reset(time.Hour) || !timer.Reset(2*time.Hour) {
			t.Error("Reset does not report whether the timer was running")
		}
		machine.Sleep(90 * time.Minute)
		<-time.After(29 * time.Minute)
		if fired.Load() != 0 {
			t.Errorf("the timer has fired after %v, a minute too early", elapsed())
		}
		<-time.After(time.Minute + 1)
		if fired.Load() != 1 || timer.Stop() {
			t.Errorf("the timer fired %d times, or is still running; want a stopped timer that fired once", fired.Load())
		}
	})
}

// TestTimerThatFiredIsEmptied resets a timer that has fired, while the fired time is still in its
// channel.
func TestTimerThatFiredIsEmptied(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clocktest.Machine, c *clock.Clock, _ func() time.Duration) {
		timer := c.NewTimer(time.Second)
		<-time.After(2 * time.Second)
		timer.Reset(time.Hour)
		began := c.Now()
		if now := <-timer.Chan(); now.Sub(began) != time.Hour {
			t.Errorf("the timer fires after %v, want 1h", now.Sub(began))
		}
	})
}

func TestManyTimersAreOverdueAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, machine *clocktest.Machine, c *clock.Clock, elapsed func() time.Duration) {
		const count = 1000
		fired := make(chan struct{}, 2*count)
		for range count {
			c.AfterFunc(time.Hour, func() {
				fired <- struct{}{}
				c.AfterFunc(time.Hour, func() { fired <- struct{}{} })
			})
		}
		for range 2 {
			synctest.Wait() // returns when all timers have been started
			machine.Sleep(3 * time.Hour)
			for range count {
				<-fired
			}
		}
		if elapsed() > 10*time.Second {
			t.Errorf("after two sleeps of the machine, the timers took %v to fire, want at most 10s", elapsed())
		}
	})
}
