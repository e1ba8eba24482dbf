package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// longestLife contains the maximum life of each kind of Redis key.
var longestLife = map[string]time.Duration{
	"token":    time.Hour, // the token's own lifetime in the test
	"failure":  31 * time.Minute,
	"lock":     3 * time.Second,
	"rejected": 7 * 24 * time.Hour,
	"forced":   time.Hour,
	"changes":  24 * time.Hour,
	"probe":    time.Minute,
}

func TestNothingStays(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	r := start(t, at(server.Addr()), fleetkeys.RandomRing())
	commit(t, r, newToken("first"), false)
	commit(t, r, newToken("second"), true)
	fail(t, r)
	_, lease := lock(t, r)
	defer lease.Release()

	seen := map[string]bool{}
	for _, name := range client.Keys(t.Context(), "*").Val() {
		kind := name[strings.LastIndex(name, ":")+1:]
		seen[kind] = true
		if left := client.PTTL(t.Context(), name).Val(); left <= 0 || left > longestLife[kind] {
			t.Errorf("a Redis key of the kind %q expires in %v, want %v at most", kind, left, longestLife[kind])
		}
	}
	if len(seen) != len(longestLife) {
		t.Errorf("Redis has keys of the kinds %v, want %v", seen, longestLife)
	}
}

// The clocks of two replicas differ by hours. Each replica stores a token and a failure. Both
// replicas must read the same remaining lives of the stored entries.
func TestClockOfAnotherReplica(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	right := open(t, server, keys)
	for _, off := range []time.Duration{-26 * time.Hour, -time.Hour, time.Hour, 26 * time.Hour} {
		clock := &aheadClock{Clock: clockwork.NewRealClock()}
		clock.ahead.Store(int64(off))
		wrong := open(t, server, keys, withClock(clock))

		commit(t, right, newTokenAt("first", time.Now().Add(-10*time.Minute)), false)
		failUntil(t, right, time.Now().Add(time.Minute))
		wantLeft(t, wrong, clock.Now(), 50*time.Minute, time.Minute)

		commit(t, wrong, newTokenAt("second", clock.Now().Add(-20*time.Minute)), false)
		failUntil(t, wrong, clock.Now().Add(2*time.Minute))
		wantLeft(t, right, time.Now(), 40*time.Minute, 2*time.Minute)
	}
}

// wantLeft checks the remaining lives of the token and of the failure by the Store's clock.
func wantLeft(t *testing.T, store cache.Store, now time.Time, ofToken, ofFailure time.Duration) {
	t.Helper()
	record, err := store.Load(t.Context(), key)
	if err != nil || record.Token == nil || record.Failure == nil {
		t.Fatalf("Load returns record %+v, error %v", record, err)
	}
	within := func(what string, got, want time.Duration) {
		t.Helper()
		if (got - want).Abs() > 5*time.Second {
			t.Errorf("the remaining life of the %s is %v, want %v", what, got, want)
		}
	}
	within("token", record.Token.End().Sub(now), ofToken)
	within("token, by when it was requested", record.Token.RequestedAt.Add(time.Hour).Sub(now), ofToken)
	within("failure", record.Failure.Until.Sub(now), ofFailure)
}

// A server is suspended just before it stores a token, and is resumed later. The stored entry must
// not live longer than the token itself.
func TestLateCommit(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	commit(t, p.other, newToken("zeroth"), false) // loads the script into the server
	_, lease := lock(t, p.cut)
	defer lease.Release()
	fresh := newToken("first")
	p.server.Stop()
	if _, err := lease.Commit(t.Context(), fresh, false); err == nil {
		t.Fatal("Commit on a stopped server does not fail")
	}
	for range 4 { // each call of Load uses up its time limit
		if _, err := p.cut.Load(t.Context(), key); err == nil {
			t.Fatal("Load on a stopped server does not fail")
		}
	}
	p.server.Continue()
	eventually(t, "the token is stored", func() bool {
		record, err := p.other.Load(t.Context(), key)
		if err != nil || value(record.Token) != "first" {
			return false
		}
		if late := record.Token.End().Sub(fresh.End()); late > 500*time.Millisecond {
			t.Errorf("the stored token ends %v after its real end", late)
		}
		return true
	})
}
