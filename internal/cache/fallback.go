package cache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/token"
)

// Fallback is a Store that goes on alone while the one that it shares with other
// replicas is out of reach: nobody's token request waits for that. What it learns alone
// it forgets when the shared Store is back; the Cache offers its tokens then.
type Fallback struct {
	shared Store
	clock  clockwork.Clock
	alone  atomic.Pointer[Memory]
}

// NewFallback returns a Store in front of a shared one.
func NewFallback(shared Store, clock clockwork.Clock) *Fallback {
	f := &Fallback{shared: shared, clock: clock}
	f.forget()
	return f
}

// forget drops what was learned alone.
func (f *Fallback) forget() { f.alone.Store(NewMemory(f.clock)) }

// Load returns what the shared Store knows of key. It fails when that does: what is at
// hand has to do then.
func (f *Fallback) Load(ctx context.Context, key string) (Record, error) {
	return f.shared.Load(ctx, key)
}

// Lock waits for the key's turn in the fleet; in this process alone when the shared
// Store fails.
func (f *Fallback) Lock(ctx context.Context, key string, enough func(Record) bool) (Record, Lease, error) {
	record, lease, err := f.shared.Lock(ctx, key, enough)
	switch {
	case err != nil && ctx.Err() == nil:
		return f.alone.Load().Lock(ctx, key, enough)
	case err != nil || lease == nil:
		return record, nil, err
	default:
		return record, fallbackLease{lease}, nil
	}
}

// ForgetFailures removes the failures of both.
func (f *Fallback) ForgetFailures(ctx context.Context) error {
	_ = f.alone.Load().ForgetFailures(ctx)
	return f.shared.ForgetFailures(ctx)
}

// Follow tells news of the shared Store.
func (f *Fallback) Follow(ctx context.Context, news News) {
	store, ok := f.shared.(follower)
	if !ok {
		return
	}
	missed := news.Missed
	news.Missed = func() {
		f.forget()
		missed()
	}
	store.Follow(ctx, news)
}

// Retain drops what is known of every key but those that keep approves of.
func (f *Fallback) Retain(keep func(key string) bool) {
	f.alone.Load().Retain(keep)
	if store, ok := f.shared.(retainer); ok {
		store.Retain(keep)
	}
}

// fallbackLease is a lease of the shared Store that may get out of reach.
type fallbackLease struct {
	shared Lease
}

// Commit lets fresh stand when it cannot be stored: it is good all the same.
func (l fallbackLease) Commit(ctx context.Context, fresh *token.Token, rejected bool) (*token.Token, error) {
	standing, err := l.shared.Commit(ctx, fresh, rejected)
	if err != nil && !errors.Is(err, ErrLeaseLost) {
		return fresh, nil
	}
	return standing, err
}

// Fail does without what cannot be stored: the Cache remembers the failure itself.
func (l fallbackLease) Fail(ctx context.Context, failure *Failure) error {
	if err := l.shared.Fail(ctx, failure); errors.Is(err, ErrLeaseLost) {
		return err
	}
	return nil
}

// ForcedWait limits nothing that cannot be counted.
func (l fallbackLease) ForcedWait(ctx context.Context, limit int, window time.Duration) (time.Duration, error) {
	wait, err := l.shared.ForcedWait(ctx, limit, window)
	if err != nil {
		return 0, nil
	}
	return wait, nil
}

// Release ends the lease.
func (l fallbackLease) Release() { l.shared.Release() }
