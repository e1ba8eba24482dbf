package redisstore_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// states is an Observer that sends the arguments of Degraded to a channel.
type states chan bool

func (states) Operated(string, string, time.Duration) {}
func (states) Unreadable(string)                      {}
func (s states) Degraded(is bool)                     { s <- is }

// `during` repeats a call until the time limit is over or the state changes.
func (s states) during(limit time.Duration, call func()) (is, changed bool) {
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	end := time.After(limit)
	for {
		call()
		select {
		case is := <-s:
			return is, true
		case <-pause.C:
		case <-end:
			return false, false
		}
	}
}

// callStore opens a Store, and calls its Follow until the test ends. It returns the channel that
// receives the arguments of Degraded, and a function that takes and releases a lease.
func callStore(t *testing.T, server redisstore.Server) (_ states, call func()) {
	t.Helper()
	states := make(states, 100)
	store := redisstore.New(redisstore.Options{
		Server: server, Keys: fleetkeys.RandomRing(), Observer: states, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		store.Close()
	})
	go store.Follow(ctx, cache.News{Changed: func(string) {}, Forgotten: func() {}, Missed: func() {}})
	return states, func() {
		_, lease, err := store.Lock(ctx, "a", func(cache.Record) bool { return false })
		if err == nil {
			lease.Release()
		}
	}
}

// A server that answers reads and refuses writes must count as out of reach, although the read at
// the beginning of each call succeeds.
func TestReadsDoNotHideRefusedWrites(t *testing.T) {
	for name, commands := range map[string]struct{ refuse, mend []any }{
		"out of memory": {[]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		"a replica":     {[]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of the test's time is waiting
			server := redistest.Start(t)
			tell := func(command []any) {
				if err := server.Client().Do(t.Context(), command...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			states, call := callStore(t, redisstore.Server{Addresses: []string{server.Addr()}})

			tell(commands.refuse)
			if is, changed := states.during(20*time.Second, call); !changed || !is {
				t.Fatalf("Degraded is called with %v (called at all: %v), want true", is, changed)
			}
			// Each second, the Store tries one operation.
			if is, changed := states.during(2500*time.Millisecond, call); changed {
				t.Fatalf("Degraded is called again, with %v, while the server refuses writes", is)
			}
			tell(commands.mend)
			if is, changed := states.during(20*time.Second, call); !changed || is {
				t.Fatalf("Degraded is called with %v (called at all: %v), want false", is, changed)
			}
		})
	}
}

// A wrong master name counts as a failure. For an unknown master name, Sentinels reply nil, as
// Redis does for a key that does not exist.
func TestSentinelsThatKnowNoSuchMaster(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t)
	states, call := callStore(t, redisstore.Server{Addresses: group.Addrs(), SentinelMaster: "another"})
	if is, changed := states.during(20*time.Second, call); !changed || !is {
		t.Errorf("Degraded is called with %v (called at all: %v), want true", is, changed)
	}
}
