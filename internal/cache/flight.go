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

// flight is one attempt at a token, on behalf of all who wait for it.
type flight struct {
	// accept reports whether a token that another replica put into the Store will do.
	accept func(*token.Token) bool
	// forced says that the current token was rejected.
	forced bool
	// renewal says that there is a good token: no caller waits.
	renewal bool
	// failed is what came of its own request, where the lease was lost meanwhile.
	failed *Failure
}

// fly starts the flight, or joins the one that is under way, whatever that was started
// for. The flight does not end with its first caller, whose context is ctx.
func (e *entry) fly(ctx context.Context, f flight) <-chan singleflight.Result {
	return e.flights.DoChan(e.key, func() (_ any, err error) {
		land, ok := e.cache.takeOff()
		if !ok {
			return nil, errStopping
		}
		defer land()
		defer func() {
			// A panic here would end the process, and with it the calls of every other
			// credential.
			if cause := recover(); cause != nil {
				e.cache.options.Logger.Error("panic in a token request", "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
				err = fault.Opaque()
				e.failure.Store(nextFailure(e.failure.Load(), fault.From(err), e.cache.options.Clock.Now(), time.Time{}, 0))
			}
		}()
		t, err := e.attempt(ctx, f)
		if f.forced {
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

var (
	errStopping  = fault.New(fault.ServerStopping, "the broker is stopping")
	errEnded     = fault.New(fault.ProviderUnavailable, "the token ended before it could be served")
	errSameToken = fault.New(fault.ProviderUnavailable, "the provider issued the same token again")
	errLateToken = fault.New(fault.ProviderUnavailable, "the provider's answer took so long that its token was about to expire")
)

// attempt takes the lease, looks again, and makes one token request.
func (e *entry) attempt(call context.Context, f flight) (*token.Token, error) {
	ctx, cancel := context.WithTimeout(e.cache.options.Begin(e.cache.ctx, call), flightTimeout)
	defer cancel()
	for {
		t, err := e.lockAndRequest(ctx, &f)
		if !errors.Is(err, ErrLeaseLost) {
			return t, err
		}
	}
}

// lockAndRequest is one turn of attempt.
func (e *entry) lockAndRequest(ctx context.Context, f *flight) (*token.Token, error) {
	usable := func(t *token.Token) bool { return t != nil && f.accept(t) && !e.isRejected(t) && !e.isOlder(t) }
	seen := e.look()
	// Both are as they were when the Store asked last.
	var adoptable bool
	var backoff *Failure
	record, lease, err := e.cache.options.Store.Lock(ctx, e.key, func(record Record) bool {
		adoptable = usable(record.Token)
		if record.Token != nil && !adoptable {
			e.adoptLoaded(record.Token, seen) // it may be what there is to serve while requests fail
		}
		backoff = e.backoff(record.Failure, f.renewal)
		return adoptable || backoff != nil
	})
	now := e.cache.options.Clock.Now()
	if err != nil && e.cache.ctx.Err() == nil && f.failed.holds(now, f.renewal) {
		e.failure.Store(f.failed) // nobody says in time what came after it
		return nil, f.failed.err(now)
	}
	if err != nil {
		return nil, e.explain(err)
	}
	if lease == nil && adoptable {
		return e.adopt(record.Token, seen), nil
	}
	if lease == nil {
		e.failure.Store(backoff)
		raise(&e.failureEpoch, seen.epoch)
		return nil, backoff.err(now)
	}
	defer lease.Release()
	if f.failed.holds(now, f.renewal) {
		return nil, e.storeFailure(ctx, lease, f.failed) // whoever had the lease brought no token
	}
	if f.forced {
		wait, err := lease.ForcedWait(ctx, e.cache.options.ForcedLimit, e.cache.options.ForcedWindow)
		if err != nil {
			return nil, e.explain(err)
		}
		if wait > 0 {
			return nil, fault.New(fault.RateLimited, "too many forced renewals of this credential").WithRetryDelay(wait)
		}
	}
	return e.request(ctx, f, record, lease, seen)
}

// backoff returns the failure that keeps requests from being made, or nil: the one that
// was stored, or one that this replica could not store. It is the one that ends later.
func (e *entry) backoff(stored *Failure, renewal bool) *Failure {
	now, own := e.cache.options.Clock.Now(), e.failure.Load()
	switch {
	case own.holds(now, renewal) && (stored == nil || stored.until(renewal).Before(own.until(renewal))):
		return own
	case stored.holds(now, renewal):
		return stored
	default:
		return nil
	}
}

// request makes the token request and stores what comes of it. The lease was taken after
// the sight seen.
func (e *entry) request(ctx context.Context, f *flight, record Record, lease Lease, seen sight) (*token.Token, error) {
	failed := func(err error, latest time.Time) error { return e.fail(ctx, f, record.Failure, lease, err, latest) }
	fresh, err := e.source.RequestToken(ctx)
	if err != nil {
		return nil, failed(err, time.Time{})
	}
	for _, known := range []*token.Token{record.Token, e.lastToken()} {
		if known != nil && !fresh.Succeeds(known) {
			// When that one has ended the provider has to issue another.
			return nil, failed(errSameToken, known.End())
		}
	}
	if e.isRejected(fresh) {
		return nil, failed(errSameToken, time.Time{})
	}
	standing, err := lease.Commit(context.WithoutCancel(ctx), fresh, f.forced) // it comes late rather than never
	if err != nil {
		return nil, e.explain(err)
	}
	if standing == nil || e.isRejected(standing) || (f.forced || !standing.Value.Equal(fresh.Value)) && !f.accept(standing) {
		return nil, failed(errSameToken, time.Time{})
	}
	current := e.adopt(standing, seen)
	if now := e.cache.options.Clock.Now(); standing == fresh && !now.Before(fresh.ExpireTime()) {
		// The answer took so long that the token is in its margin already. Those who wait
		// get it, as the last resort, and others do so until the next attempt may be made.
		_ = failed(errLateToken, time.Time{})
	}
	return current, nil
}

// fail remembers a failed request, and returns what callers are told; or ErrLeaseLost when another
// replica has had the right to make requests meanwhile. Backing off ends at the time latest at the
// latest, if that is in the future.
func (e *entry) fail(ctx context.Context, f *flight, previous *Failure, lease Lease, err error, latest time.Time) error {
	if e.cache.ctx.Err() != nil {
		return e.explain(err)
	}
	if previous == nil {
		previous = e.failure.Load() // a Store that lost its memory does not shorten the wait
	}
	now := e.cache.options.Clock.Now()
	var goodUntil time.Time
	if h := e.held.Load(); h != nil {
		goodUntil = h.expireTime
	}
	failure := nextFailure(previous, fault.From(err), now, goodUntil, e.cache.options.Random())
	if latest.After(now) && latest.Before(failure.RenewalUntil) {
		failure.RenewalUntil = latest
		if latest.Before(failure.Until) {
			failure.Until = latest
		}
	}
	f.failed = failure
	return e.storeFailure(ctx, lease, failure)
}

// storeFailure stores what fail remembers.
func (e *entry) storeFailure(ctx context.Context, lease Lease, failure *Failure) error {
	err := lease.Fail(context.WithoutCancel(ctx), failure)
	if errors.Is(err, ErrLeaseLost) {
		return err // whoever has it now may bring a token
	}
	e.failure.Store(failure)
	if err != nil {
		e.cache.options.Logger.Warn("a failed token request could not be stored", "type", fmt.Sprintf("%T", err))
	}
	return failure.err(e.cache.options.Clock.Now())
}

// explain says what the end of a flight means to those who wait for it.
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
