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
// requests of another, and while their token is valid not for their own either.
type entry struct {
	cache   *Cache
	key     string
	source  Source
	flights singleflight.Group

	held    atomic.Pointer[heldToken]
	failure atomic.Pointer[Failure]

	mu      sync.Mutex // guards what follows, and each change of held
	dropped bool
	timer   clockwork.Timer
	past    []*token.Token // the last few that were at hand before
}

// maxPast is how many past tokens an entry knows again.
const maxPast = 4

// heldToken is a token at hand.
type heldToken struct {
	token      *token.Token
	expireTime time.Time
	// served says that somebody got the token. One that nobody wants is not renewed.
	served atomic.Bool
	// due says that the token is to be renewed at its next use.
	due atomic.Bool
}

// adopt makes t the token at hand, and returns it. It is for tokens that a lease
// vouches for.
func (e *entry) adopt(t *token.Token) *token.Token {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.replaceHeld(t)
	return t
}

// adoptLoaded makes t the token at hand unless it was that before: what was read
// without a lease may have been overtaken since.
func (e *entry) adoptLoaded(t *token.Token) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.ContainsFunc(e.past, func(past *token.Token) bool { return past.Value.Equal(t.Value) }) {
		return
	}
	if h := e.held.Load(); h == nil || !h.token.Value.Equal(t.Value) {
		e.replaceHeld(t)
	}
}

// replaceHeld makes t the token at hand. The caller holds e.mu.
func (e *entry) replaceHeld(t *token.Token) {
	e.failure.Store(nil)
	if before := e.held.Load(); before != nil && !before.token.Value.Equal(t.Value) {
		e.past = append(e.past, before.token)
		e.past = e.past[max(0, len(e.past)-maxPast):]
	}
	h := &heldToken{token: t, expireTime: t.ExpireTime()}
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
	now := e.cache.options.Clock.Now()
	if failure := e.failure.Load(); failure.holds(now) {
		return e.fallBack(failure.err(now))
	}
	fresh := func(t *token.Token) bool { return e.cache.options.Clock.Now().Before(t.ExpireTime()) }
	landing := e.fly(flight{accept: fresh})
	if e.valid() == nil {
		return e.join(ctx, landing)
	}
	brief, cancel := context.WithTimeout(ctx, marginPatience)
	defer cancel()
	t, err := e.join(brief, landing)
	if err != nil {
		t, err = e.fallBack(err)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return e.join(ctx, landing) // the token has ended meanwhile
	}
	return t, err
}

// valid returns the token at hand while the provider accepts it, and nil otherwise.
func (e *entry) valid() *heldToken {
	if h := e.held.Load(); h != nil && e.cache.options.Clock.Now().Before(h.token.End()) {
		return h
	}
	return nil
}

// fallBack returns the token at hand while it is valid, and err otherwise.
func (e *entry) fallBack(err error) (*token.Token, error) {
	if h := e.valid(); h != nil {
		return e.serve(h), nil
	}
	return nil, err
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

// current returns the fleet's current token, fetching one where there is none.
func (e *entry) current(ctx context.Context) (*token.Token, error) {
	record, err := e.cache.options.Store.Load(ctx, e.key)
	if err == nil && record.Token != nil {
		e.adoptLoaded(record.Token)
	}
	if h := e.valid(); h != nil {
		return e.serve(h), nil
	}
	return e.wait(ctx)
}
