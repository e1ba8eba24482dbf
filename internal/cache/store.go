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
	// Load returns the record of the given key.
	Load(ctx context.Context, key string) (Record, error)
	// Lock waits until only the caller may make token requests for the key, or until the
	// function `enough` returns true for the key's record, whichever comes first. If `enough`
	// returned true, Lock returns no Lease. Lock calls `enough` each time that Lock has read the
	// record. Lock reads the record again only after that call of `enough` has returned. Lock
	// fails when the context ctx ends first.
	Lock(ctx context.Context, key string, enough func(Record) bool) (Record, Lease, error)
	// ForgetFailures removes the failure of every key.
	ForgetFailures(ctx context.Context) error
}

// Record is the state of one key in a Store.
type Record struct {
	// Token is the current token. Token is nil when there is no token or the token has ended.
	Token *token.Token
	// Failure is the failure of the last token request. Failure is nil when the last token
	// request brought a token.
	Failure *Failure
}

// ErrLeaseLost is returned when a Lease ended before its Release was called. After the Lease was
// lost, another replica may be making a token request.
var ErrLeaseLost = errors.New("the lease ended while the token request was made")

// Lease is the right to make token requests for one key, until Release is called. If the Store
// is on a network, the Lease may end before Release is called.
type Lease interface {
	// Commit stores the token `fresh` as the current token, and returns the token that is in the
	// Store afterwards. In two cases Commit does not store the token `fresh`, and returns
	// another token. In the first case a different token was stored after the Lease began. In
	// the second case the token `fresh` was rejected before; then the returned token is the
	// token in the Lease's Record, or nil. The parameter `rejected` reports that the token in
	// the Record was rejected. A Store does not store a rejected token again, neither in this
	// call nor later. The Store remembers at least the last 8 rejected tokens. Commit fails with
	// ErrLeaseLost when another replica has the lease and has stored nothing yet.
	Commit(ctx context.Context, fresh *token.Token, rejected bool) (*token.Token, error)
	// Fail stores the failure of a token request that brought no token, or that brought a token
	// which ends at once. The current token stays in the Store, even if Commit stored it under
	// this Lease. Fail returns ErrLeaseLost when another replica has the lease, or has stored a
	// token.
	Fail(ctx context.Context, failure *Failure) error
	// ForcedWait returns how long the next forced renewal must wait. A forced renewal must wait
	// when the number of forced renewals within the time `window` has reached the number
	// `limit`. Forced renewals are counted by Commit: a call of Commit counts as a forced
	// renewal if the parameter `rejected` is true and the token is stored. The time `window` is
	// an hour at most.
	ForcedWait(ctx context.Context, limit int, window time.Duration) (wait time.Duration, err error)
	// Release ends the lease. Release is called once. Release does not wait for the network.
	Release()
}

// A follower is a Store that other processes change, too.
type follower interface {
	// Follow passes the changes that other processes make to the functions in the parameter
	// `news`, until ctx ends. Follow may return a little later than ctx ends.
	Follow(ctx context.Context, news News)
}

// News contains the functions by which a Store notifies a Cache of changes that other processes
// made. The functions in News do not wait.
type News struct {
	// Changed is called when the token of a key has changed in the Store. The parameter of
	// Changed is the key.
	Changed func(key string)
	// Forgotten is called when the failures of all keys were removed.
	Forgotten func()
	// Missed is called when the Store may have missed changes that other processes made.
	Missed func()
}

// A retainer is a Store that must be told which keys are in use, because the Store does not
// delete unused keys by itself.
type retainer interface {
	Retain(keep func(key string) bool)
}
