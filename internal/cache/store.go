package cache

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

// Store keeps what the replicas of a fleet know of each token. A Cache puts the life
// of a token on top of it. Package cachetest holds the suite that each implementation
// passes.
//
// Its methods are safe for concurrent use.
type Store interface {
	// Load returns what is known of key.
	Load(ctx context.Context, key string) (Record, error)
	// Lock waits until the caller alone may make token requests for key, or until what
	// is known of key is enough, whichever comes first. In the second case there is no
	// Lease. It fails when ctx ends before.
	Lock(ctx context.Context, key string, enough func(Record) bool) (Record, Lease, error)
	// ForgetFailures removes the failure of every key.
	ForgetFailures(ctx context.Context) error
}

// Record is what is known of one key.
type Record struct {
	// Token is the current token; nil when there is none or it has ended.
	Token *token.Token
	// Failure is what came of the last token request; nil when that was a token.
	Failure *Failure
}

// ErrLeaseLost says that a Lease ended before its Release: another replica may be
// making a token request.
var ErrLeaseLost = errors.New("the lease ended while the token request was made")

// Lease is the right to make token requests for one key, until Release. It may end
// before that where its Store is on a network.
type Lease interface {
	// Commit makes fresh the current token, and returns the one that stands: fresh, or
	// another where fresh comes too late or was rejected before; nil when there is none
	// to stand. With rejected, the token of the Lease's Record is not stored again (the
	// last 8 such tokens at least are remembered), and fresh does not stand if it is
	// that same one. It fails with ErrLeaseLost when fresh comes too late and nothing
	// took its place yet.
	Commit(ctx context.Context, fresh *token.Token, rejected bool) (*token.Token, error)
	// Fail stores what came of a request that brought no token, or one that ends at once. The
	// current token stays, even if this Lease has committed it. Fail returns ErrLeaseLost when
	// it comes too late: another replica makes a request, or has stored a token.
	Fail(ctx context.Context, failure *Failure) error
	// ForcedWait says how long the next forced renewal must wait because there were as
	// many as limit within the window. A Commit with rejected that fresh comes out of
	// as the current token counts as one, for windows of up to an hour.
	ForcedWait(ctx context.Context, limit int, window time.Duration) (wait time.Duration, err error)
	// Release ends the lease. It is called once, and does not wait for the network.
	Release()
}

// follower is a Store that others change too.
type follower interface {
	// Follow tells news of what others change, until ctx ends. It may return a little
	// later than that.
	Follow(ctx context.Context, news News)
}

// News is what a Cache wants to hear of a Store that others change too. Its functions
// do not wait.
type News struct {
	// Changed says that there is another token of this key.
	Changed func(key string)
	// Forgotten says that the failures of all keys were removed.
	Forgotten func()
	// Missed says that some news may have been missed.
	Missed func()
}

// retainer is a Store in which what nobody wants any more does not end by itself.
type retainer interface {
	Retain(keep func(key string) bool)
}
