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

// states is an Observer that is told whether Redis is in reach.
type states chan bool

func (states) Operated(string, string, time.Duration) {}
func (states) Unreadable(string)                      {}
func (s states) Degraded(is bool)                     { s <- is }

// during calls again and again for a time, and returns the change in it, if there is one.
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

// callStore returns the states of a Store that follows until the test ends, and what has
// it look and lock.
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

// TestReadsDoNotHideRefusedWrites has a server that answers reads and refuses writes. It
// is out of reach, and stays so while calls go on that read first.
func TestReadsDoNotHideRefusedWrites(t *testing.T) {
	for name, commands := range map[string]struct{ refuse, mend []any }{
		"out of memory": {[]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		"a replica":     {[]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			server := redistest.Start(t)
			tell := func(command []any) {
				if err := server.Client().Do(t.Context(), command...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			states, call := callStore(t, redisstore.Server{Addresses: []string{server.Addr()}})

			tell(commands.refuse)
			if is, changed := states.during(20*time.Second, call); !changed || !is {
				t.Fatalf("degraded: %v, %v, want that it is", is, changed)
			}
			// Redis is tried again each second.
			if is, changed := states.during(2500*time.Millisecond, call); changed {
				t.Fatalf("degraded is %v while writes are refused", is)
			}
			tell(commands.mend)
			if is, changed := states.during(20*time.Second, call); !changed || is {
				t.Fatalf("degraded: %v, %v, want that it is not", is, changed)
			}
		})
	}
}

// TestSentinelsThatKnowNoSuchMaster wants a wrong name to be trouble: their answer is
// nothing, like that of a key that is not there.
func TestSentinelsThatKnowNoSuchMaster(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t)
	states, call := callStore(t, redisstore.Server{Addresses: group.Addrs(), SentinelMaster: "another"})
	if is, changed := states.during(20*time.Second, call); !changed || !is {
		t.Errorf("degraded: %v, %v, want that it is", is, changed)
	}
}
