package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
	"github.com/authmaterial/broker/internal/token"
)

// phases returns the fleet keys that replicas have in the four phases of a key rotation: before,
// between and after three rolling restarts.
func phases(t *testing.T) []*fleetkeys.Ring {
	t.Helper()
	a, b := generate(t), generate(t)
	var rings []*fleetkeys.Ring
	for _, keys := range [][]fleetkeys.Key{{a}, {a, b}, {b, a}, {b}} {
		ring, err := fleetkeys.NewRing(keys...)
		if err != nil {
			t.Fatal(err)
		}
		rings = append(rings, ring)
	}
	return rings
}

// neighbours runs a test with the fleet keys of each pair of successive phases, in both orders,
// because during a key rotation replicas in two successive phases run at the same time.
func neighbours(t *testing.T, test func(t *testing.T, server *redistest.Server, one, other *fleetkeys.Ring)) {
	t.Helper()
	rings := phases(t)
	for i := range rings[1:] {
		for _, way := range [][2]int{{i, i + 1}, {i + 1, i}} {
			t.Run(fmt.Sprintf("phases %d and %d", way[0]+1, way[1]+1), func(t *testing.T) {
				t.Parallel()
				test(t, redistest.Start(t), rings[way[0]], rings[way[1]])
			})
		}
	}
}

func TestRotationSharesLocks(t *testing.T) {
	t.Parallel()
	neighbours(t, func(t *testing.T, server *redistest.Server, one, other *fleetkeys.Ring) {
		_, lease := lock(t, open(t, server, one))
		store := open(t, server, other)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, _, err := store.Lock(ctx, key, never); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock of a key that the other replica has locked returns error %v, want context.DeadlineExceeded", err)
		}
		lease.Release()
		_, lease = lock(t, store)
		lease.Release()
		eventually(t, "all locks are released", func() bool { return len(keysOf(t, server.Client(), "lock")) == 0 })
	})
}

func TestRotationSharesNews(t *testing.T) {
	t.Parallel()
	neighbours(t, func(t *testing.T, server *redistest.Server, one, other *fleetkeys.Ring) {
		writer, reader := start(t, at(server.Addr()), one), start(t, at(server.Addr()), other)
		wantToken(t, reader, "")
		commit(t, writer, newTokenAt("first", time.Now().Add(-time.Minute)), false)
		eventually(t, "the neighbour receives the event", func() bool { return slices.Contains(reader.heard(), key) })
		wantToken(t, reader, "first")
		commit(t, writer, newToken("second"), true)
		wantToken(t, reader, "second")
		fail(t, writer)
		if record, err := reader.Load(t.Context(), key); err != nil || record.Failure == nil {
			t.Errorf("the other replica does not know of the failure: %v", err)
		}
		if err := reader.ForgetFailures(t.Context()); err != nil {
			t.Fatal(err)
		}
		if record, err := writer.Load(t.Context(), key); err != nil || record.Failure != nil {
			t.Errorf("the failure that the other replica removed is still stored: %+v, %v", record.Failure, err)
		}
	})
}

// Two replicas with different fleet keys make one forced renewal each. Both replicas must count two
// forced renewals.
func TestRotationSharesTheLimit(t *testing.T) {
	t.Parallel()
	neighbours(t, func(t *testing.T, server *redistest.Server, one, other *fleetkeys.Ring) {
		stores := []cache.Store{open(t, server, one), open(t, server, other)}
		commit(t, stores[0], newTokenAt("first", time.Now().Add(-3*time.Minute)), false)
		commit(t, stores[0], newTokenAt("second", time.Now().Add(-2*time.Minute)), true)
		commit(t, stores[1], newTokenAt("third", time.Now().Add(-time.Minute)), true)
		for i, store := range stores {
			_, lease := lock(t, store)
			for limit, want := range map[int]bool{2: true, 3: false} {
				if wait, err := lease.ForcedWait(t.Context(), limit, time.Hour); err != nil || want != (wait > 59*time.Minute) || !want && wait != 0 {
					t.Errorf("replica %d: ForcedWait(%d) returns %v, error %v; the renewal must wait: %v", i, limit, wait, err, want)
				}
			}
			lease.Release()
		}
	})
}

// A fleet of three replicas is restarted three times, one replica after another. There must be one
// token request at first, and one more token request for each report.
func TestRotation(t *testing.T) {
	t.Parallel()
	for name, reports := range map[string]bool{"one token": false, "reports": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rotate(t, reports)
		})
	}
}

func rotate(t *testing.T, reports bool) {
	t.Helper()
	server := redistest.Start(t)
	rings := phases(t)
	var requests atomic.Int32
	account := source{key: key, requests: &requests}
	run := func(keys *fleetkeys.Ring) (*cache.Cache, func()) {
		store := redisstore.New(redisstore.Options{Server: at(server.Addr()), Keys: keys, Logger: slog.New(slog.DiscardHandler)})
		c := cache.New(cache.Options{
			Store: store, ForcedLimit: 100, Logger: slog.New(slog.DiscardHandler),
			Versions: func(_ string, t *token.Token) []string { return []string{value(t)} },
		})
		return c, func() {
			c.Close()
			store.Close()
		}
	}
	fleet := make([]*cache.Cache, 3)
	ends := make([]func(), 3)
	for i := range fleet {
		fleet[i], ends[i] = run(rings[0])
	}
	want := int32(0)
	check := func(when string) {
		t.Helper()
		for i, c := range fleet {
			if got, err := c.Token(t.Context(), account); err != nil || value(got) != account.value(want) {
				t.Errorf("%s, replica %d returns token %q, error %v; want token %q", when, i, value(got), err, account.value(want))
			}
		}
		if got := requests.Load(); got != want {
			t.Errorf("%s, the fleet has made %d token requests, want %d", when, got, want)
		}
	}
	want = 1
	check("at first")
	for phase, keys := range rings[1:] {
		for i := range fleet {
			when := fmt.Sprintf("in restart %d of replica %d", phase+1, i)
			ends[i]()
			fleet[i], ends[i] = run(keys)
			check(when)
			if !reports {
				continue
			}
			// The report goes to a replica with the new fleet keys, or to one with the old fleet
			// keys.
			rejected := account.value(want)
			reporter := fleet[(i+phase)%len(fleet)]
			_, replaced, err := reporter.Replace(t.Context(), account, rejected)
			if err != nil || !replaced {
				t.Fatalf("%s, Replace returns replaced %v, error %v", when, replaced, err)
			}
			want++
			for _, c := range fleet {
				eventually(t, "all have the successor", func() bool {
					got, err := c.Token(t.Context(), account)
					return err == nil && value(got) == account.value(want)
				})
			}
			check(when + ", after a report")
		}
	}
	for _, end := range ends {
		end()
	}
}
