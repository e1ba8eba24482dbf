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

// A refresh is one attempt to get a new token for a token key. All callers that wait for that token
// share the refresh.
type refresh struct {
	// old is the token to replace. If old is nil, any token that has not expired is accepted.
	old *token.Token
	// forced reports that the old token was rejected, so a token with the same value is not
	// accepted.
	forced bool
	// renewal reports that the old token has not expired, and that no caller waits for its
	// successor.
	renewal bool
	// failed is the failure of a token request of this refresh, if the lease ended before the
	// failure could be stored.
	failed *Failure
}

var (
	errStopping  = fault.New(fault.ServerStopping, "the broker is stopping")
	errEnded     = fault.New(fault.ProviderUnavailable, "the token ended before it could be served")
	errSameToken = fault.New(fault.ProviderUnavailable, "the provider issued the same token again")
	errLateToken = fault.New(fault.ProviderUnavailable,
		"the provider's answer took so long that its token was about to expire")
)

// isDone reports whether the snapshot has a token that the refresh accepts.
func (r *refresh) isDone(s *snapshot, now time.Time) bool {
	return s.isFresh(now) && s.token != r.old && (!r.forced || !s.token.Value.Equal(r.old.Value))
}

// refresh starts a refresh, or joins the refresh that is under way, whatever its purpose. The given
// context is that of the call that starts the refresh, which continues when the context is
// cancelled.
func (e *entry) refresh(ctx context.Context, r refresh) <-chan singleflight.Result {
	return e.refreshes.DoChan(e.key, func() (_ any, err error) {
		done, ok := e.cache.begin()
		if !ok {
			return nil, errStopping
		}
		defer done()
		defer func() {
			// A panic in a token request would otherwise end the process, and with it the calls for
			// every other credential.
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

// forcedOutcome converts the error of a forced renewal, which is nil after a success, for the
// Observer.
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

// join waits for the result of a refresh, and records that a caller received the token. join fails
// if the token has already ended, because the machine slept during the refresh.
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

// attempt takes the lease, and makes one token request, unless another replica stores a token or a
// failure first. When attempt returns ErrLeaseLost, the caller must call attempt again.
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
		e.setFailure(r.failed, seen) // no replica stored a token in time
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
		return nil, e.storeFailure(ctx, lease, r.failed, seen) // the replica that took the lease got no token
	}
	if r.forced {
		// If forced renewals cannot be counted, their number is not limited.
		wait, err := lease.ForcedWait(ctx, e.cache.options.ForcedLimit, e.cache.options.ForcedWindow)
		if err == nil && wait > 0 {
			return nil, fault.New(fault.RateLimited, "too many forced renewals of this credential").WithRetryDelay(wait)
		}
	}
	return e.request(ctx, r, record, lease, seen)
}

// lock takes the lease with Store.Lock, or returns an aloneLease while the Store fails. lock
// compares each record that it reads with the current token, and then passes the record to the
// function `enough`. The result `seen` is the stamp from before the last record was read.
func (e *entry) lock(
	ctx context.Context, enough func(Record) bool,
) (record Record, lease Lease, seen stamp, err error) {
	began := e.stamp()
	seen, next := began, began
	record, lease, err = e.cache.options.Store.Lock(ctx, e.key, func(record Record) bool {
		seen = next
		e.compareStored(record.Token, seen)
		is := enough(record)
		next = e.stamp() // the stamp must be taken before the next record is read
		return is
	})
	if err == nil || ctx.Err() != nil {
		return record, lease, seen, err
	}
	// A token that was requested under an aloneLease is not put into the Store, even if the Store
	// works again by then.
	if enough(Record{}) {
		return Record{}, nil, began, nil
	}
	return Record{}, aloneLease{e}, began, nil
}

// request makes the token request and stores its result. The stamp `seen` must be from before the
// last read of the Store.
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
	if r.forced && r.old != nil && fresh.Value.Equal(r.old.Value) {
		return nil, fail(errSameToken, time.Time{}) // the rejected token is not accepted, even if the provider extended its life
	}
	if again, end := e.isIssuedAgain(fresh, record.Token); again {
		return nil, fail(errSameToken, end)
	}
	stored, err := lease.Commit(context.WithoutCancel(ctx), fresh, r.forced) // Commit ignores the cancellation of ctx, so that a token that arrives late is stored too
	switch {
	case errors.Is(err, ErrLeaseLost):
		return nil, err
	case err != nil:
		stored = fresh // the token is valid, although it could not be stored
	case isRefused(fresh, stored, record):
		return nil, fail(errSameToken, time.Time{})
	}
	if r.forced && r.old != nil {
		e.rejectToken(r.old) // Replace remembers the rejection too, but not if its caller cancelled the call
	}
	current := e.settle(fresh, stored, seen)
	if current == fresh && !e.cache.options.Clock.Now().Before(fresh.ExpireTime()) {
		// Callers get the late token as long as it is valid, until the next token request brings a
		// new token.
		_ = fail(errLateToken, time.Time{})
	}
	return current, nil
}

// isIssuedAgain reports whether the provider issued a token that the broker already has, or that
// was reported as rejected. If the broker already has the token, the result `end` is the time at
// which that token ends. A token request after that time brings another token.
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

// isRefused reports whether Commit did not store t because t was rejected before. In that case
// `stored`, the result of Commit, is the token of the record, or nil.
func isRefused(t, stored *token.Token, record Record) bool {
	if stored == nil {
		return true
	}
	return !stored.Value.Equal(t.Value) && record.Token != nil && stored.Value.Equal(record.Token.Value)
}

// settle makes either the requested or the stored token the current one, and returns it. The two
// tokens differ if another replica stored its own token during the request.
func (e *entry) settle(fresh, stored *token.Token, seen stamp) *token.Token {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := stored
	if e.isRejected(stored) || newer(fresh, stored) {
		t = fresh
		e.resync() // puts the requested token into the Store
	}
	e.choose(t, seen)
	return e.snapshot.Load().token
}

// explain returns the error for the callers that wait for a refresh, given the error with which the
// refresh ended.
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
