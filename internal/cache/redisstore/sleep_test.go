package redisstore_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// sleepingClock is the clock of a machine that falls asleep for two hours right after a reading of
// the clock.
type sleepingClock struct {
	aheadClock
	readings atomic.Int64 // how many times the clock is read before the machine sleeps
}

func (c *sleepingClock) Now() time.Time {
	now := c.aheadClock.Now()
	if c.readings.Add(-1) == 0 {
		c.ahead.Add(int64(2 * time.Hour))
	}
	return now
}

func (c *sleepingClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// A machine falls asleep right after a reading of its clock, while it reads a token from Redis. The
// remaining life in Redis' reply must count from a time before the machine slept.
func TestSleepBetweenQuestionAndAnswer(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	commit(t, open(t, server, keys), newToken("first"), false)
	clock := &sleepingClock{aheadClock: aheadClock{Clock: clockwork.NewRealClock()}}
	store := open(t, server, keys, withClock(clock))
	clock.readings.Store(1000)
	wantToken(t, store, "first")
	all := 1000 - clock.readings.Load()
	if all < 2 {
		t.Fatalf("Load reads the clock %d times, want one time before and one time after the request", all)
	}
	for sleeps := range all {
		clock.readings.Store(sleeps + 1)
		record, err := store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if end := record.Token.End(); clock.Now().Before(end) {
			t.Errorf("the machine slept after reading number %d of the clock, and the token seems to end %v after the sleep", sleeps+1, end.Sub(clock.Now()))
		}
	}
}

// A machine sleeps after a token request, before the token is stored.
func TestEndedTokenIsNotStored(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	clock := &aheadClock{Clock: clockwork.NewRealClock()}
	store := open(t, server, keys, withClock(clock))
	_, lease := lock(t, store)
	defer lease.Release()
	fresh := newTokenAt("first", clock.Now())
	clock.ahead.Store(int64(2 * time.Hour))
	wantCommit(t, lease, fresh, false, "first")
	if stored := keysOf(t, server.Client(), "token"); len(stored) > 0 {
		t.Error("a token that has ended is stored")
	}
}
