package clock_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/clock/clocktest"
)

func TestClockAdvances(t *testing.T) {
	for _, test := range []struct {
		name              string
		sleep, correction time.Duration
		want              time.Duration
	}{
		{"sleep", 2 * time.Hour, 0, 2 * time.Hour},
		{"wall clock set forward", 0, 2 * time.Hour, 2 * time.Hour},
		{"wall clock set back", 0, -2 * time.Hour, 0},
		{"sleep, and set back by as much", 2 * time.Hour, -2 * time.Hour, 2 * time.Hour},
		{"sleep, and set forward", 2 * time.Hour, time.Hour, 3 * time.Hour},
		{"less than the tolerance", 0, 50 * time.Millisecond, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				machine := clocktest.NewMachine()
				c := machine.Clock()
				before := c.Now()
				if !c.Wall(before).Equal(machine.WallTime()) {
					t.Errorf("Wall is %v at first, want %v", c.Wall(before), machine.WallTime())
				}
				machine.Sleep(test.sleep)
				machine.Correct(test.correction)
				now := c.Now()
				if got := now.Sub(before); got != test.want {
					t.Errorf("the clock advances by %v, want %v", got, test.want)
				}
				if apart := c.Wall(now).Sub(machine.WallTime()).Abs(); apart > 100*time.Millisecond {
					t.Errorf("Wall and the wall clock are %v apart", apart)
				}
				if c.Since(before) != test.want || c.Until(before) != -test.want {
					t.Error("Since or Until does not return the time by which the Clock has advanced")
				}
			})
		})
	}
}

func TestSmallCorrectionsAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machine := clocktest.NewMachine()
		c := machine.Clock()
		before := c.Now()
		for range 100 {
			machine.Correct(50 * time.Millisecond)
			c.Now()
		}
		if got := c.Since(before); got < 4900*time.Millisecond || got > 5*time.Second {
			t.Errorf("the clock advances by %v, want 5s, or up to 100ms less", got)
		}
	})
}

// The second correction, which sets the wall clock forward by less than the first one set it back,
// must advance the Clock: a lifetime may become shorter, but must not become longer.
func TestCorrectionsBackAndForth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machine := clocktest.NewMachine()
		c := machine.Clock()
		before := c.Now()
		for _, d := range []time.Duration{-2 * time.Hour, time.Hour} {
			machine.Correct(d)
			if apart := c.Wall(c.Now()).Sub(machine.WallTime()); apart != 0 {
				t.Errorf("Wall and the wall clock are %v apart", apart)
			}
		}
		if got := c.Since(before); got != time.Hour {
			t.Errorf("the clock advances by %v, want 1h", got)
		}
	})
}

// TestSleepBetweenTwoReadings lets the machine sleep after the boot clock was read and before the
// wall clock is read. The Clock must not treat this sleep as a correction of the wall clock.
func TestSleepBetweenTwoReadings(t *testing.T) {
	var slept, readings int64
	boot := func() int64 { return slept }
	wall := func() int64 {
		if readings++; readings > 1 && readings < 4 {
			slept += int64(time.Hour) // the machine sleeps just after a reading of the boot clock
		}
		return int64(1000*time.Hour) + slept
	}
	c := clock.NewFrom(boot, wall)
	before := time.Unix(0, 0).Add(1000 * time.Hour)
	if got := c.Now().Sub(before); got != 2*time.Hour {
		t.Errorf("the clock advances by %v, want 2h", got)
	}
	if got := c.Now().Sub(before); got != 2*time.Hour {
		t.Errorf("the clock advances by %v at the next reading, want 2h", got)
	}
}

func TestClockNeverGoesBack(t *testing.T) {
	machine := clocktest.NewMachine()
	c := machine.Clock()
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for last := c.Now(); ; {
				now := c.Now()
				if now.Before(last) {
					t.Errorf("the clock goes back by %v", last.Sub(now))
				}
				last = now
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 1000 {
		machine.Correct(-time.Hour)
		machine.Sleep(time.Second)
		machine.Correct(time.Hour)
	}
	close(done)
	readers.Wait()
}

func TestWallOfOtherClocks(t *testing.T) {
	other := clockwork.NewFakeClock()
	if now := other.Now(); !clock.Wall(other, now).Equal(now) || !clock.WallNow(other).Equal(now) {
		t.Error("Wall or WallNow converts the time of a clock that is not a *Clock")
	}
	if c := clock.New(); !c.Wall(time.Time{}).IsZero() {
		t.Error("the zero time is converted")
	}
}
