package cache

import (
	"context"
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
	// Lock waits until the caller alone may make token requests for key. It fails when
	// ctx ends first.
	Lock(ctx context.Context, key string) (Lease, error)
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

// Lease is the right to make token requests for one key, until Release.
type Lease interface {
	// Record is what was known when the lease began.
	Record() Record
	// Commit makes fresh the current token, and returns the one that stands: fresh, or
	// another where fresh comes too late or was rejected before; nil when there is none
	// to stand. With rejected, the token of Record is not stored again (the last 8 such
	// tokens at least are remembered), and fresh does not stand if it is that same one.
	Commit(ctx context.Context, fresh *token.Token, rejected bool) (*token.Token, error)
	// Fail stores what came of a request that brought no token. It leaves the current
	// token as it is.
	Fail(ctx context.Context, failure *Failure) error
	// ForcedWait says how long the next forced renewal must wait because there were as
	// many as limit within the window. A Commit with rejected that fresh comes out of
	// as the current token counts as one, for windows of up to an hour.
	ForcedWait(ctx context.Context, limit int, window time.Duration) (wait time.Duration, err error)
	// Release ends the lease. It is called once, and does not wait for the network.
	Release()
}
