package cache

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

// noStore is the Store of a Cache that shares no tokens. Its Load and Lock always fail, so the
// Cache works as it does while any other Store fails.
type noStore struct{}

var errNoStore = errors.New("there is no Store")

func (noStore) Load(context.Context, string) (Record, error) { return Record{}, errNoStore }

func (noStore) Lock(context.Context, string, func(Record) bool) (Record, Lease, error) {
	return Record{}, nil, errNoStore
}

func (noStore) ForgetFailures(context.Context) error { return nil }

// aloneLease is the lease of a refresh if there is no Store, or if the Store fails. An aloneLease
// locks nothing, because a Cache makes only one refresh of a token at a time. It stores no tokens
// or failures, because the Cache has them in memory. It only counts forced renewals.
type aloneLease struct{ entry *entry }

func (l aloneLease) Commit(_ context.Context, fresh *token.Token, rejected bool) (*token.Token, error) {
	if rejected {
		options := l.entry.cache.options
		l.entry.mu.Lock()
		defer l.entry.mu.Unlock()
		l.entry.forced = lastOf(append(l.entry.forced, options.Clock.Now()), options.ForcedLimit)
	}
	return fresh, nil
}

func (aloneLease) Fail(context.Context, *Failure) error { return nil }

func (l aloneLease) ForcedWait(_ context.Context, limit int, window time.Duration) (time.Duration, error) {
	l.entry.mu.Lock()
	defer l.entry.mu.Unlock()
	if len(l.entry.forced) < limit {
		return 0, nil
	}
	return max(0, l.entry.forced[0].Add(window).Sub(l.entry.cache.options.Clock.Now())), nil
}

func (aloneLease) Release() {}
