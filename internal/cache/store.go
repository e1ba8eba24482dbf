package cache

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

// Store keeps the tokens that the replicas of a fleet share. Package cachetest contains the test
// suite that each implementation must pass. The methods of a Store are safe for concurrent use.
type Store interface {
	// Load returns the record of key.
	Load(ctx context.Context, key string) (Record, error)
	// Lock waits until only the caller may make token requests for key, or until the function
	// enough returns true for the record of key, whichever comes first. If the function enough
	// returned true, Lock returns no Lease. Lock reads each record after the call of enough for
	// the previous record has returned. Lock fails when ctx ends first.
	Lock(ctx context.Context, key string, enough func(Record) bool) (Record, Lease, error)
	// ForgetFailures removes the failure of every key.
	ForgetFailures(ctx context.Context) error
}

// Record is the state of one key in a Store.
type Record struct {
	// Token is the current token; nil when there is no token or the token has ended.
	Token *token.Token
	// Failure is the failure of the last token request; nil when that request brought a token.
	Failure *Failure
}

// ErrLeaseLost is returned when a Lease ended before its Release. In that case another replica
// may be making a token request.
var ErrLeaseLost = errors.New("the lease ended while the token request was made")

// Lease is the right to make token requests for one key, until Release is called. The Lease of a
// Store on a network may end before that.
type Lease interface {
	// Commit stores fresh as the current token, and returns the token that is stored afterwards.
	// Commit does not store fresh, and returns another token, in two cases: a different token
	// was stored since the Lease began, or fresh was rejected before. In the second case the
	// returned token is the one in the Lease's Record, or nil. The parameter rejected reports
	// that the token in the Record was rejected. In that case that rejected token is not stored
	// again, and fresh is not stored if fresh is the rejected token. At least the last 8
	// rejected tokens are remembered. Commit fails with ErrLeaseLost when another replica has
	// the lease and has stored nothing yet.
	Commit(ctx context.Context, fresh *token.Token, rejected bool) (*token.Token, error)
	// Fail stores the failure of a token request that brought no token, or that brought a token
	// which ends at once. The current token stays stored, even if this Lease has committed that
	// token. Fail returns ErrLeaseLost when another replica has the lease, or has stored a
	// token.
	Fail(ctx context.Context, failure *Failure) error
	// ForcedWait returns how long the next forced renewal must wait because limit forced
	// renewals were made within the window. A forced renewal is counted when Commit, called with
	// rejected true, stores its token. The window is an hour at most.
	ForcedWait(ctx context.Context, limit int, window time.Duration) (wait time.Duration, err error)
	// Release ends the lease. Release is called once, and does not wait for the network.
	Release()
}

// follower is a Store that other processes change, too.
type follower interface {
	// Follow passes the changes that other processes make to news, until ctx ends. Follow may
	// return a little later than ctx ends.
	Follow(ctx context.Context, news News)
}

// News contains the functions by which a Store notifies a Cache of changes that other processes
// made. The functions do not wait.
type News struct {
	// Changed is called when the token of this key has changed in the Store.
	Changed func(key string)
	// Forgotten is called when the failures of all keys were removed.
	Forgotten func()
	// Missed is called when the Store may have missed changes that other processes made.
	Missed func()
}

// retainer is a Store that must be told which keys are in use, because it does not delete unused
// keys by itself.
type retainer interface {
	Retain(keep func(key string) bool)
}
