package cache

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/singleflight"

	"github.com/authmaterial/broker/internal/token"
)

// entry is what a Cache has of one token. Readers of one entry never wait for the
// requests of another. While their token has not expired they wait for none.
type entry struct {
	cache    *Cache
	key      string
	source   Source
	observer Observer
	warm     Counter // of calls that need not wait
	flights  singleflight.Group
	lookUps  singleflight.Group

	held    atomic.Pointer[heldToken]
	failure atomic.Pointer[Failure]
	// failureEpoch is that of the Cache when the Store was last seen.
	failureEpoch atomic.Uint64
	// changes is how much news of the token there was.
	changes atomic.Uint64

	mu      sync.Mutex // guards what follows, and each change of held
	dropped bool
	timer   clockwork.Timer
	// rejected are the last tokens that were reported, and unseen the last reports of
	// others: such a token may still come, from a replica that could not be reached. One
	// whose report was pushed out is replaced when it is reported again.
	rejected []*token.Token
	unseen   []func(*token.Token) bool
}

// heldToken is a token at hand.
type heldToken struct {
	token      *token.Token
	expireTime time.Time
	// epoch is that of the Cache when the token was last seen in the Store.
	epoch atomic.Uint64
	// served says that somebody got the token. One that nobody wants is not renewed.
	served atomic.Bool
	// due says that the token is to be renewed at its next use.
	due atomic.Bool
	// missed says that a call found the token expired.
	missed atomic.Bool
	// offered says that the token is being put into a Store that lacks it.
	offered atomic.Bool
}

// adopt makes t the token at hand, which was read in the Store, or put there, after the
// sight seen; unless there is one by now that was requested later. It returns the one at
// hand.
func (e *entry) adopt(t *token.Token, seen sight) *token.Token {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held.Load() != seen.held && e.isOlder(t) {
		return e.lastToken()
	}
	e.replaceHeld(t, seen)
	return t
}

// reject notes what a caller was told to use no more. It is not to come back.
func (e *entry) reject(t *token.Token) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.hasRejected(t) {
		e.rejected = lastOf(append(e.rejected, t), maxRejected)
	}
}

// rejectUnseen does so with a token that is not at hand. It says false when it is.
func (e *entry) rejectUnseen(rejected func(*token.Token) bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.lastToken(); t != nil && rejected(t) {
		return false
	}
	if !slices.ContainsFunc(e.rejected, rejected) {
		e.unseen = lastOf(append(e.unseen, rejected), maxUnseen)
	}
	return true
}

// lastOf returns the last elements, count at most.
func lastOf[T any](all []T, count int) []T { return all[max(0, len(all)-count):] }

// isRejected reports whether a caller was told to use t no more.
func (e *entry) isRejected(t *token.Token) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.hasRejected(t)
}

// hasRejected is isRejected for a caller that holds e.mu.
func (e *entry) hasRejected(t *token.Token) bool {
	return slices.ContainsFunc(e.rejected, func(rejected *token.Token) bool { return rejected.Value.Equal(t.Value) }) ||
		slices.ContainsFunc(e.unseen, func(rejected func(*token.Token) bool) bool { return rejected(t) })
}

// lastToken returns the token at hand, ended or not, or nil.
func (e *entry) lastToken() *token.Token {
	if h := e.held.Load(); h != nil {
		return h.token
	}
	return nil
}

// replaceHeld makes t the token at hand, as of the sight seen. The caller holds e.mu.
func (e *entry) replaceHeld(t *token.Token, seen sight) {
	h := &heldToken{token: t, expireTime: t.ExpireTime()}
	if e.cache.options.Clock.Now().Before(h.expireTime) {
		e.failure.Store(nil) // one in its margin is no success of late
	}
	h.epoch.Store(seen.epoch)
	e.held.Store(h)
	e.stopTimer()
	e.schedule(h, t.RenewTime(e.cache.options.Random()))
	e.cache.options.Changed(e.key)
	if seen.changes != e.changes.Load() || e.outOfDate() {
		e.cache.changes.add(e) // there was news meanwhile
	}
}

// drop ends the renewals for good.
func (e *entry) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropped = true
	e.stopTimer()
}

// fresh returns the token of h unless that has expired.
func (e *entry) fresh(h *heldToken) (*token.Token, bool) {
	if !e.cache.options.Clock.Now().Before(h.expireTime) {
		return nil, false
	}
	e.warm.Inc()
	return e.serve(h), true
}

// wait returns a token once there is one. It is for callers that find none at hand, or
// one in its safety margin.
func (e *entry) wait(ctx context.Context) (*token.Token, error) {
	e.noteMissed()
	now := e.cache.options.Clock.Now()
	if failure := e.failure.Load(); failure.holds(now, false) {
		t, tier, err := e.fallBack(FromFailure, failure.err(now))
		e.observer.Answered(tier)
		return t, err
	}
	t, tier, err := e.await(ctx)
	e.observer.Waited(e.cache.options.Clock.Since(now))
	if tier == FlightFailed && ctx.Err() != nil {
		tier = GaveUp
	}
	e.observer.Answered(tier)
	return t, err
}

// noteMissed tells the observer once of each token that was served, and is missed.
func (e *entry) noteMissed() {
	if h := e.held.Load(); h != nil && h.served.Load() && h.missed.CompareAndSwap(false, true) {
		e.observer.Renewed(Late)
	}
}

// await waits for a flight; while there is a token in its safety margin, not for long.
func (e *entry) await(ctx context.Context) (*token.Token, Tier, error) {
	fresh := func(t *token.Token) bool { return e.cache.options.Clock.Now().Before(t.ExpireTime()) }
	landing := e.fly(ctx, flight{accept: fresh})
	brief, cancel := context.WithTimeout(ctx, marginPatience)
	defer cancel()
	t, tier, err := e.landOrFallBack(brief, landing)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return e.landOrFallBack(ctx, landing) // there is none, or it has ended meanwhile
	}
	return t, tier, err
}

// valid returns the token at hand while the provider may accept it, and nil otherwise.
func (e *entry) valid() *heldToken {
	if h := e.held.Load(); h != nil && e.cache.options.Clock.Now().Before(h.token.LastEnd()) {
		return h
	}
	return nil
}

// fallBack returns the token at hand while it is valid, and the error of a tier
// otherwise.
func (e *entry) fallBack(tier Tier, err error) (*token.Token, Tier, error) {
	if h := e.valid(); h != nil {
		return e.serve(h), FromMargin, nil
	}
	return nil, tier, err
}

// landOrFallBack is join with the tier that the answer comes from. Without one it is the
// token at hand while that is valid: the flight may have found it in the Store.
func (e *entry) landOrFallBack(ctx context.Context, landing <-chan singleflight.Result) (*token.Token, Tier, error) {
	t, err := e.join(ctx, landing)
	if err != nil {
		return e.fallBack(FlightFailed, err)
	}
	return t, FromFlight, nil
}

// join waits for a flight, and notes that its token is served. It fails when the token has
// ended meanwhile: the machine slept during the flight.
func (e *entry) join(ctx context.Context, landing <-chan singleflight.Result) (*token.Token, error) {
	select {
	case result := <-landing:
		if result.Err != nil {
			return nil, result.Err
		}
		t := result.Val.(*token.Token)
		if !e.cache.options.Clock.Now().Before(t.LastEnd()) {
			return nil, errEnded.WithRetryDelay(firstBackoff)
		}
		if h := e.held.Load(); h != nil {
			e.serve(h)
		}
		return t, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// current returns the fleet's current token, fetching one where there is none.
func (e *entry) current(ctx context.Context) (*token.Token, error) {
	e.compare(ctx)
	if h := e.valid(); h != nil {
		return e.serve(h), nil
	}
	return e.wait(ctx)
}
