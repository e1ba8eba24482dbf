package cache_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
)

// A lingeringStore delays the end of each refresh after the new token was stored.
type lingeringStore struct {
	cache.Store
	release time.Duration
}

func (s *lingeringStore) Lock(ctx context.Context, key string, enough func(cache.Record) bool) (cache.Record, cache.Lease, error) {
	record, lease, err := s.Store.Lock(ctx, key, enough)
	if lease != nil {
		lease = &lingeringLease{lease, s.release}
	}
	return record, lease, err
}

type lingeringLease struct {
	cache.Lease
	release time.Duration
}

func (l *lingeringLease) Release() {
	<-time.After(l.release)
	l.Lease.Release()
}

// A token is served, and its renewal is due, before the refresh that fetched it has ended. The
// renewal must join that refresh.
func TestRenewalThatIsDueBeforeTheRefreshEnds(t *testing.T) {
	inBubble(t, 0, func(w *world) {
		w.provider.set(func(p *provider) { p.latency = 0 })
		w.fleet = append(w.fleet, cache.New(cache.Options{
			Store:  &lingeringStore{newMemory(clockwork.NewRealClock()), renewal + time.Minute},
			Random: func() float64 { return 0 },
			Logger: slog.New(slog.DiscardHandler),
		}))
		go func() { _, _ = w.get() }() // this call starts the refresh
		w.pass(0)
		w.want("token-1")
		w.wantRequests(1)
		w.pass(renewal)
		w.wantRequests(1) // the refresh has not ended
		w.pass(time.Minute)
		w.wantRequests(2)
		w.want("token-2")
	})
}
