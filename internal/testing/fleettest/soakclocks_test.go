package fleettest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/authmaterial/broker/internal/testing/fleettest"
)

// shifts are the changes of a clock that otherwise shows the real time. A value of this type is
// safe for concurrent use.
type shifts struct {
	mu  sync.Mutex
	all []shift
}

// shift is a change of a clock that happened during a span.
type shift struct {
	span
	by time.Duration
}

// change runs a function that changes the clock, and records the change.
func (s *shifts) change(by time.Duration, change func()) {
	s.mu.Lock()
	s.all = append(s.all, shift{span{from: time.Now()}, by})
	last := len(s.all) - 1
	s.mu.Unlock()
	change()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[last].to = time.Now()
}

func (s *shifts) touches(from, to time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.touches(from, to) {
			return true
		}
	}
	return false
}

// earliest returns the earliest time that the clock may have shown in a period: at its start, or
// after the clock was set back.
func (s *shifts) earliest(from, to time.Time) time.Time {
	least, _ := s.offsets(from, to)
	return from.Add(least)
}

func (s *shifts) latest(from, to time.Time) time.Time {
	_, most := s.offsets(from, to)
	return to.Add(most)
}

// offsets returns the lowest and the highest difference between the clock and the real time in a
// period.
func (s *shifts) offsets(from, to time.Time) (least, most time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var offset time.Duration
	for _, one := range s.all {
		if one.from.After(to) {
			break
		}
		offset += one.by
		if one.to.IsZero() || one.to.After(from) {
			least, most = min(least, offset), max(most, offset)
		} else {
			least, most = offset, offset
		}
	}
	return least, most
}

// The method `when` returns the real time at which the clock showed the given time. The clock must
// never have been set back. If a change of the clock skipped the given time, the result is the time
// of that change.
func (s *shifts) when(shown time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var offset time.Duration
	for _, one := range s.all {
		if shown.Add(-offset).Before(one.from) {
			break
		}
		offset += one.by
		if shown.Add(-offset).Before(one.from) {
			return one.from
		}
	}
	return shown.Add(-offset)
}

// All tokens expire during a long sleep.
const (
	correctedBy  = 2 * time.Hour
	longestSleep = 2 * soakLife
	longSleep    = 2 * time.Hour
	longSleeps   = 4 // on average, one in four sleeps is long
)

// suspension lets the machine of the brokers, Redis and the provider sleep for a random time.
func (s *soak) suspension(c *cost) []action {
	if s.random.IntN(longSleeps) == 0 {
		return s.sleeping(c, longSleep)
	}
	return s.sleeping(c, s.moment(longestSleep))
}

func (s *soak) sleeping(c *cost, d time.Duration) []action {
	c.suspensions++
	return []action{{s.moment(latestFault + longestFault), fmt.Sprintf("sleep for %v", d.Round(time.Millisecond)), func() { s.sleep(d) }}}
}

// sleep suspends all processes and moves all clocks forward, as if the machine slept.
func (s *soak) sleep(d time.Duration) {
	for _, b := range s.fleet.Running() {
		s.stopped[b].begin()
		if !s.stops[b] {
			b.Stop()
		}
	}
	s.ageRedis(d)
	s.time.change(d, func() { s.fleet.Provider.ShiftClock(d) })
	for _, b := range s.fleet.Brokers {
		s.clocks[b].change(d, func() { b.Sleep(d) })
	}
	for _, b := range s.fleet.Running() {
		if !s.stops[b] {
			b.Continue()
		}
	}
}

// `age` shortens the remaining lifetime of each key in Redis.
const age = `
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 then
    redis.call('PEXPIRE', key, math.max(0, left - ARGV[1]))
  end
end
return 1`

// ageRedis waits until Redis has finished earlier commands, and shortens the remaining lifetime of
// all keys by d. If Redis is not running, ageRedis does nothing.
func (s *soak) ageRedis(d time.Duration) {
	if !s.server.Runs() {
		return
	}
	ctx, cancel := context.WithTimeout(s.Context(), fleettest.Patience)
	defer cancel()
	client := s.server.Client()
	quiet := 0
	last := ""
	s.fleet.Await("Redis has finished the command", func() error {
		info, err := client.InfoMap(ctx, "commandstats").Result()
		if err != nil {
			return err
		}
		delete(info["Commandstats"], "cmdstat_info")
		if now := fmt.Sprint(info); now != last {
			last, quiet = now, 0
		} else {
			quiet++
		}
		if quiet < 4 {
			return errors.New("it is doing things")
		}
		return nil
	})
	if err := client.Eval(ctx, age, nil, d.Milliseconds()).Err(); err != nil {
		s.Errorf("shorten the lifetimes of the keys in Redis: %v", err)
	}
}

// correction sets the clock of a broker forward or back, and later undoes the correction.
func (s *soak) correction(c *cost) []action {
	if s.random.IntN(2) == 0 {
		return s.correcting(c, -correctedBy)
	}
	return s.correcting(c, correctedBy)
}

func (s *soak) correcting(c *cost, by time.Duration) []action {
	c.corrections++ // the clock is set forward either at the start or at the end of the correction
	b := s.fleet.Brokers[s.random.IntN(len(s.fleet.Brokers))]
	put := func(by time.Duration) func() {
		return func() { s.clocks[b].change(by, func() { b.CorrectClock(by) }) }
	}
	return s.lasting(fmt.Sprintf("put the clock of %s %v forward", b.Name, by), put(by), "put it right", put(-by))
}
