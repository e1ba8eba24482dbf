package cache

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

// Store keeps the tokens that the replicas of a fleet share. The keys are token keys. Each
// implementation must pass the test suite in package cachetest. The methods are safe for concurrent
// use.
type Store interface {
	Load(ctx context.Context, key string) (Record, error)
	// Lock waits until only the caller may make token requests for the key, or until the function
	// `enough` returns true for the key's record. In the latter case, Lock returns no Lease. Lock
	// calls `enough` each time that it has read the record, and reads the record again only after
	// that call has returned. Lock fails when ctx ends first.
	Lock(ctx context.Context, key string, enough func(Record) bool) (Record, Lease, error)
	// ForgetFailures removes the failures of all keys.
	ForgetFailures(ctx context.Context) error
}

// Record is what a Store has for one token key.
type Record struct {
	// Token is the current token, or nil when there is none or it has ended.
	Token *token.Token
	// Failure is the failure of the last token request, or nil when that request brought a token.
	Failure *Failure
}

// ErrLeaseLost is returned when a Lease ended before it was released. Another replica may make a
// token request after the end of the Lease.
var ErrLeaseLost = errors.New("the lease ended while the token request was made")

// Lease is the right to make token requests for one token key until Release is called. If the Store
// is on a network, the Lease may end before Release is called.
type Lease interface {
	// Commit stores the token `fresh` as the current token, and returns the token that is in the
	// Store afterwards. If a different token was stored after the Lease began, Commit stores
	// nothing and returns that token. If `fresh` was rejected before, Commit stores nothing and
	// returns the token of the Lease's Record, or nil. The parameter `rejected` reports that the
	// token of the Record was rejected. A Store does not store a rejected token again, neither in
	// this call nor later. The Store remembers at least the last 8 rejected tokens. Commit fails
	// with ErrLeaseLost when another replica has the lease and has stored nothing yet.
	Commit(ctx context.Context, fresh *token.Token, rejected bool) (*token.Token, error)
	// Fail stores the failure of a token request that brought no token, or only one that is about
	// to expire. Fail does not remove the current token from the Store, even if it is the one that
	// Commit has stored. Fail returns ErrLeaseLost when another replica has the lease, or has
	// stored a token.
	Fail(ctx context.Context, failure *Failure) error
	// ForcedWait returns how long the next forced renewal must wait, because the number of forced
	// renewals within the window, which is an hour at most, has reached the limit. A call of Commit
	// with `rejected` set that stores a token counts as a forced renewal.
	ForcedWait(ctx context.Context, limit int, window time.Duration) (wait time.Duration, err error)
	// Release ends the lease. Release is called once, and does not wait for the network.
	Release()
}

// A follower is a Store that other processes change too.
type follower interface {
	// Follow calls the functions in `news` when other processes change the Store. Follow returns
	// when ctx ends, or a little later.
	Follow(ctx context.Context, news News)
}

// News contains the functions by which a Store notifies a Cache of changes that other processes
// made. The functions do not block.
type News struct {
	// Changed is called with a token key when the token has changed in the Store.
	Changed func(key string)
	// Forgotten is called when the failures of all tokens were removed.
	Forgotten func()
	// Missed is called when the Store may have missed changes that other processes made.
	Missed func()
}

// A retainer is a Store that keeps something in memory for each token key, until Retain drops the
// key.
type retainer interface {
	Retain(keep func(key string) bool)
}
