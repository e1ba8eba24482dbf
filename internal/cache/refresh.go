package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// refresh is one attempt to get another token, for all callers that wait for it.
type refresh struct {
	// old is the token to replace; nil: any token that has not expired will do.
	old *token.Token
	// forced reports that old was rejected, so that its value does not do any more.
	forced bool
	// renewal reports that old has not expired, and no caller waits.
	renewal bool
	// failed is the failure of the attempt's own request, where the lease ended before it could be
	// stored.
	failed *Failure
}

var (
	errStopping  = fault.New(fault.ServerStopping, "the broker is stopping")
	errEnded     = fault.New(fault.ProviderUnavailable, "the token ended before it could be served")
	errSameToken = fault.New(fault.ProviderUnavailable, "the provider issued the same token again")
	errLateToken = fault.New(fault.ProviderUnavailable,
		"the provider's answer took so long that its token was about to expire")
)

// isDone reports whether the token of s is what the refresh is for.
func (r *refresh) isDone(s *snapshot, now time.Time) bool {
	return s.isFresh(now) && s.token != r.old && (!r.forced || !s.token.Value.Equal(r.old.Value))
}

// refresh starts r, or joins the refresh that is under way, whatever its purpose. It goes on when
// its first caller, whose context is ctx, is cancelled.
func (e *entry) refresh(ctx context.Context, r refresh) <-chan singleflight.Result {
	return e.refreshes.DoChan(e.key, func() (_ any, err error) {
		done, ok := e.cache.begin()
		if !ok {
			return nil, errStopping
		}
		defer done()
		defer func() {
			// A panic here would end the process, and with it the calls of every other credential.
			if cause := recover(); cause != nil {
				e.cache.options.Logger.Error("panic in a token request",
					"type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
				err = fault.Opaque()
				failure := nextFailure(e.snapshot.Load().failure, fault.From(err), e.cache.options.Clock.Now(), time.Time{}, 0)
				e.setFailure(failure, stamp{})
			}
		}()
		limited, cancel := context.WithTimeout(e.cache.options.Begin(e.cache.ctx, ctx), refreshTimeout)
		defer cancel()
		t, err := e.attempt(limited, &r)
		for errors.Is(err, ErrLeaseLost) {
			t, err = e.attempt(limited, &r)
		}
		if r.forced {
			e.observer.Forced(forcedOutcome(err))
		}
		return t, err
	})
}

// forcedOutcome sorts how a forced renewal ended.
func forcedOutcome(err error) Forced {
	switch {
	case err == nil:
		return ForcedReplaced
	case fault.From(err).Message == errSameToken.Message:
		return ForcedSameToken
	case fault.From(err).Reason == fault.RateLimited:
		return ForcedLimited
	default:
		return ForcedFailed
	}
}

// join waits for the result of a refresh, and notes that its token is served. It fails when the
// token has ended meanwhile: the machine slept during the refresh.
func (e *entry) join(ctx context.Context, refreshed <-chan singleflight.Result) (*token.Token, error) {
	select {
	case result := <-refreshed:
		if result.Err != nil {
			return nil, result.Err
		}
		t := result.Val.(*token.Token)
		if !e.cache.options.Clock.Now().Before(t.LastEnd()) {
			return nil, errEnded.WithRetryDelay(firstBackoff)
		}
		e.serve(e.snapshot.Load())
		return t, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// attempt takes the lease, unless another replica brings a token or a failure, and makes one token
// request. It returns ErrLeaseLost when it is to be called again.
func (e *entry) attempt(ctx context.Context, r *refresh) (*token.Token, error) {
	var found *token.Token
	var backoff *Failure
	record, lease, seen, err := e.lock(ctx, func(record Record) bool {
		found, backoff = nil, e.backoff(record.Failure, r.renewal)
		if s := e.snapshot.Load(); r.isDone(s, e.cache.options.Clock.Now()) {
			found = s.token
		}
		return found != nil || backoff != nil
	})
	now := e.cache.options.Clock.Now()
	switch {
	case err != nil && e.cache.ctx.Err() == nil && r.failed.prevents(now, r.renewal):
		e.setFailure(r.failed, seen) // no replica brought a token in time
		return nil, r.failed.err(now)
	case err != nil:
		return nil, e.explain(err)
	case lease == nil && found != nil:
		return found, nil
	case lease == nil:
		e.setFailure(backoff, seen)
		return nil, backoff.err(now)
	}
	defer lease.Release()
	if r.failed.prevents(now, r.renewal) {
		return nil, e.storeFailure(ctx, lease, r.failed, seen) // the other replica brought no token
	}
	if r.forced {
		// Renewals that cannot be counted are not limited.
		wait, err := lease.ForcedWait(ctx, e.cache.options.ForcedLimit, e.cache.options.ForcedWindow)
		if err == nil && wait > 0 {
			return nil, fault.New(fault.RateLimited, "too many forced renewals of this credential").WithRetryDelay(wait)
		}
	}
	return e.request(ctx, r, record, lease, seen)
}

// lock takes the lease as Store.Lock does; while the Store fails, an aloneLease. It compares each record
// that is read with the current token, before it calls enough. The last record was read after the stamp.
func (e *entry) lock(
	ctx context.Context, enough func(Record) bool,
) (record Record, lease Lease, seen stamp, err error) {
	began := e.stamp()
	seen = began
	record, lease, err = e.cache.options.Store.Lock(ctx, e.key, func(record Record) bool {
		e.compareStored(record.Token, seen)
		is := enough(record)
		seen = e.stamp() // what is read next is read after this
		return is
	})
	if err == nil || ctx.Err() != nil {
		return record, lease, seen, err
	}
	// The Store may be back by now, and does not have what this refresh brings.
	if enough(Record{}) {
		return Record{}, nil, began, nil
	}
	return Record{}, aloneLease{e}, began, nil
}

// request makes the token request and stores its result. The Store was read after the stamp.
func (e *entry) request(
	ctx context.Context, r *refresh, record Record, lease Lease, seen stamp,
) (*token.Token, error) {
	fail := func(err error, latest time.Time) error {
		if e.cache.ctx.Err() != nil {
			return e.explain(err)
		}
		r.failed = e.newFailure(record.Failure, err, latest)
		return e.storeFailure(ctx, lease, r.failed, seen)
	}
	fresh, err := e.source.RequestToken(ctx)
	if err != nil {
		return nil, fail(err, time.Time{})
	}
	if again, end := e.isIssuedAgain(fresh, record.Token); again {
		return nil, fail(errSameToken, end)
	}
	stored, err := lease.Commit(context.WithoutCancel(ctx), fresh, r.forced) // late rather than never
	switch {
	case errors.Is(err, ErrLeaseLost):
		return nil, err
	case err != nil:
		stored = fresh // the token is good, although the Store cannot be reached
	case isRefused(fresh, stored, record):
		return nil, fail(errSameToken, time.Time{})
	}
	current := e.settle(fresh, stored, seen)
	if current == fresh && !e.cache.options.Clock.Now().Before(fresh.ExpireTime()) {
		// Callers get the token while it is valid, until the next attempt brings another.
		_ = fail(errLateToken, time.Time{})
	}
	return current, nil
}

// isIssuedAgain reports whether the provider issued a token that is known, or was reported. Where it
// is known, the provider has to issue another after its end.
func (e *entry) isIssuedAgain(fresh, stored *token.Token) (again bool, end time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, known := range []*token.Token{stored, e.snapshot.Load().token} {
		if known != nil && known.Value.Equal(fresh.Value) && !newer(fresh, known) {
			return true, known.End()
		}
	}
	return e.isRejected(fresh), time.Time{}
}

// isRefused reports whether a Commit of t did not store it because it was rejected before: what is
// stored is still what the lease's record had.
func isRefused(t, stored *token.Token, record Record) bool {
	if stored == nil {
		return true
	}
	return !stored.Value.Equal(t.Value) && record.Token != nil && stored.Value.Equal(record.Token.Value)
}

// settle decides between a token that was requested and the one that the Store has after its Commit:
// another replica may have stored its own during the request. It returns the current token.
func (e *entry) settle(fresh, stored *token.Token, seen stamp) *token.Token {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := stored
	if e.isRejected(stored) || newer(fresh, stored) {
		t = fresh
		e.resync() // which puts it into the Store
	}
	e.choose(t, seen)
	return e.snapshot.Load().token
}

// explain returns the error for those who wait for a refresh that ended with err.
func (e *entry) explain(err error) error {
	switch {
	case e.cache.ctx.Err() != nil:
		return errStopping
	case errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.ProviderUnavailable, "another token request for this credential is taking too long").
			WithRetryDelay(firstBackoff)
	default:
		return err
	}
}
