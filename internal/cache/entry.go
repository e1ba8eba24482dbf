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
	flights  singleflight.Group
	lookUps  singleflight.Group

	held    atomic.Pointer[heldToken]
	failure atomic.Pointer[Failure]

	mu      sync.Mutex // guards what follows, and each change of held
	dropped bool
	timer   clockwork.Timer
	// rejected are the last few reports that were answered with another token.
	rejected []func(*token.Token) bool
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
}

// adopt makes t the token at hand, and returns it. It is for tokens that a lease
// vouches for.
func (e *entry) adopt(t *token.Token) *token.Token {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.replaceHeld(t)
	return t
}

// reject notes what a caller was told to use no more. It is not to come back.
func (e *entry) reject(rejected func(*token.Token) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rejected = append(e.rejected, rejected)
	e.rejected = e.rejected[max(0, len(e.rejected)-maxRejected):]
}

// isRejected says whether a caller was told to use t no more.
func (e *entry) isRejected(t *token.Token) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.hasRejected(t)
}

// hasRejected is isRejected for a caller that holds e.mu.
func (e *entry) hasRejected(t *token.Token) bool {
	return slices.ContainsFunc(e.rejected, func(rejected func(*token.Token) bool) bool { return rejected(t) })
}

// lastToken returns the token at hand, ended or not, or nil.
func (e *entry) lastToken() *token.Token {
	if h := e.held.Load(); h != nil {
		return h.token
	}
	return nil
}

// replaceHeld makes t the token at hand. The caller holds e.mu.
func (e *entry) replaceHeld(t *token.Token) {
	e.failure.Store(nil)
	h := &heldToken{token: t, expireTime: t.ExpireTime()}
	h.epoch.Store(e.cache.epoch.Load())
	e.held.Store(h)
	e.stopTimer()
	e.schedule(h, t.RenewTime(e.cache.options.Random()))
	e.cache.options.Changed(e.key)
}

// drop ends the renewals for good.
func (e *entry) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropped = true
	e.stopTimer()
}

// wait returns a token once there is one. It is for callers that find none at hand, or
// one in its safety margin.
func (e *entry) wait(ctx context.Context) (*token.Token, error) {
	e.noteMissed()
	now := e.cache.options.Clock.Now()
	if failure := e.failure.Load(); failure.holds(now) {
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
	if e.valid() == nil {
		return e.land(ctx, landing)
	}
	brief, cancel := context.WithTimeout(ctx, marginPatience)
	defer cancel()
	t, tier, err := e.land(brief, landing)
	if err != nil {
		t, tier, err = e.fallBack(tier, err)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return e.land(ctx, landing) // the token has ended meanwhile
	}
	return t, tier, err
}

// valid returns the token at hand while the provider accepts it, and nil otherwise.
func (e *entry) valid() *heldToken {
	if h := e.held.Load(); h != nil && e.cache.options.Clock.Now().Before(h.token.End()) {
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

// land is join with the tier that the answer comes from.
func (e *entry) land(ctx context.Context, landing <-chan singleflight.Result) (*token.Token, Tier, error) {
	t, err := e.join(ctx, landing)
	if err != nil {
		return nil, FlightFailed, err
	}
	return t, FromFlight, nil
}

// join waits for a flight, and notes that its token is served.
func (e *entry) join(ctx context.Context, landing <-chan singleflight.Result) (*token.Token, error) {
	select {
	case result := <-landing:
		if result.Err != nil {
			return nil, result.Err
		}
		if h := e.held.Load(); h != nil {
			e.serve(h)
		}
		return result.Val.(*token.Token), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
