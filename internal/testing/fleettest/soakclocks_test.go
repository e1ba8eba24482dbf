package fleettest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/authmaterial/broker/internal/testing/fleettest"
)

// shifts are the changes of a clock that is otherwise correct. The zero value has no changes. It
// is safe for concurrent use.
type shifts struct {
	mu  sync.Mutex
	all []shift
}

// shift is a change of a clock by some time, which happened between two moments. A shift without
// an end continues.
type shift struct {
	span
	by time.Duration
}

// change runs an action that changes the clock, and records the change.
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

// touches reports whether the clock was changed between two times.
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

// earliest returns the earliest time that the clock may have shown between two times: at the
// first of them, or after it was set back.
func (s *shifts) earliest(from, to time.Time) time.Time {
	least, _ := s.offsets(from, to)
	return from.Add(least)
}

// latest returns the latest time that the clock may have shown between two times.
func (s *shifts) latest(from, to time.Time) time.Time {
	_, most := s.offsets(from, to)
	return to.Add(most)
}

// offsets returns the lowest and the highest offset that the clock may have had between two
// times.
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

// when returns the moment at which the clock, which never went back, showed a time. If a change
// skipped that time, it is the moment of the change.
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

// Clock corrections have this size. During a sleep some time passes, sometimes so much that no
// token survives.
const (
	correctedBy  = 2 * time.Hour
	longestSleep = 2 * soakLife
	longSleep    = 2 * time.Hour
	longSleeps   = 4 // one of this many
)

// suspension simulates a sleep of the machine: of the brokers, Redis and the provider.
func (s *soak) suspension(c *cost) []action {
	if s.random.IntN(longSleeps) == 0 {
		return s.sleeping(c, longSleep)
	}
	return s.sleeping(c, s.moment(longestSleep))
}

// sleeping returns a suspension of a given duration.
func (s *soak) sleeping(c *cost, d time.Duration) []action {
	c.suspensions++
	return []action{{s.moment(latestFault + longestFault), fmt.Sprintf("sleep for %v", d.Round(time.Millisecond)), func() { s.sleep(d) }}}
}

// sleep lets time pass while no process runs.
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

// age shortens the remaining lifetime of each key.
const age = `
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 then
    redis.call('PEXPIRE', key, math.max(0, left - ARGV[1]))
  end
end
return 1`

// ageRedis lets time pass for the keys in Redis, after Redis has finished earlier commands. It
// does nothing if Redis is not running.
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
		s.Errorf("have time pass in Redis: %v", err)
	}
}

// correction sets the clock of a broker forward or back, and later right again.
func (s *soak) correction(c *cost) []action {
	if s.random.IntN(2) == 0 {
		return s.correcting(c, -correctedBy)
	}
	return s.correcting(c, correctedBy)
}

// correcting returns a correction of a given size.
func (s *soak) correcting(c *cost, by time.Duration) []action {
	c.corrections++ // one of the two changes is forward
	b := s.fleet.Brokers[s.random.IntN(len(s.fleet.Brokers))]
	put := func(by time.Duration) func() {
		return func() { s.clocks[b].change(by, func() { b.CorrectClock(by) }) }
	}
	return s.lasting(fmt.Sprintf("put the clock of %s %v forward", b.Name, by), put(by), "put it right", put(-by))
}
