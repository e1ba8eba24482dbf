package cache

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

// Store keeps the tokens that the replicas of a fleet share. Package cachetest has the suite that
// each implementation passes. Its methods are safe for concurrent use.
type Store interface {
	// Load returns the record of key.
	Load(ctx context.Context, key string) (Record, error)
	// Lock waits until the caller alone may make token requests for key, or until enough returns
	// true for its record, whichever comes first. In the second case there is no Lease. Each record
	// is read after enough returned for the one before. Lock fails when ctx ends first.
	Lock(ctx context.Context, key string, enough func(Record) bool) (Record, Lease, error)
	// ForgetFailures removes the failure of every key.
	ForgetFailures(ctx context.Context) error
}

// Record is what a Store has of one key.
type Record struct {
	// Token is the current token; nil when there is none or it has ended.
	Token *token.Token
	// Failure is that of the last token request; nil when the request brought a token.
	Failure *Failure
}

// ErrLeaseLost is returned when a Lease ended before its Release: another replica may be making a
// token request.
var ErrLeaseLost = errors.New("the lease ended while the token request was made")

// Lease is the right to make token requests for one key, until Release. The lease of a Store on a
// network may end before that.
type Lease interface {
	// Commit stores fresh as the current token, and returns the token that is then stored: fresh, or
	// another one if a different token was stored since the Lease began, or fresh was rejected
	// before. In the last case it is that of the Lease's Record, or nil. With rejected, the token of
	// the Record is not stored again (the last 8 such tokens at least are remembered), and fresh is
	// not stored if it is that same token. Commit fails with ErrLeaseLost when another replica has
	// the lease and has stored nothing yet.
	Commit(ctx context.Context, fresh *token.Token, rejected bool) (*token.Token, error)
	// Fail stores the failure of a request that brought no token, or one that ends at once. The
	// current token stays, even if this Lease has committed it. Fail returns ErrLeaseLost when
	// another replica has the lease, or has stored a token.
	Fail(ctx context.Context, failure *Failure) error
	// ForcedWait returns how long the next forced renewal must wait because there were as many as
	// limit within the window. A Commit with rejected that stored its token counts as one, for
	// windows of up to an hour.
	ForcedWait(ctx context.Context, limit int, window time.Duration) (wait time.Duration, err error)
	// Release ends the lease. It is called once, and does not wait for the network.
	Release()
}

// follower is a Store that other processes change too.
type follower interface {
	// Follow sends the changes of other processes to news, until ctx ends. It may return a little
	// later than that.
	Follow(ctx context.Context, news News)
}

// News is what a Cache does about changes of the Store by other processes. Its functions do not
// wait.
type News struct {
	// Changed is called when there is another token of this key.
	Changed func(key string)
	// Forgotten is called when the failures of all keys were removed.
	Forgotten func()
	// Missed is called when other changes may have been missed.
	Missed func()
}

// retainer is a Store whose unused keys do not end by themselves.
type retainer interface {
	Retain(keep func(key string) bool)
}
