package cache

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

// noStore is the Store of a Cache that shares no tokens. noStore always fails, so each refresh has
// an aloneLease.
type noStore struct{}

var errNoStore = errors.New("there is no Store")

func (noStore) Load(context.Context, string) (Record, error) { return Record{}, errNoStore }

func (noStore) Lock(context.Context, string, func(Record) bool) (Record, Lease, error) {
	return Record{}, nil, errNoStore
}

func (noStore) ForgetFailures(context.Context) error { return nil }

// aloneLease is the lease of a refresh while the Store fails. An aloneLease only counts forced
// renewals: the token and its failures are in the token's entry, and the process makes only one
// refresh of a token at a time.
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
