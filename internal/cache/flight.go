package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/singleflight"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// flight is one attempt at a token, on behalf of all who wait for it.
type flight struct {
	// accept says whether a token that another replica put into the Store will do.
	accept func(*token.Token) bool
	// forced says that the current token was rejected.
	forced bool
}

// fly starts the flight, or joins the one that is under way, whatever that was started
// for. The flight does not end with its first caller.
func (e *entry) fly(f flight) <-chan singleflight.Result {
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
			}
		}()
		return e.attempt(f)
	})
}

var (
	errStopping  = fault.New(fault.ServerStopping, "the broker is stopping")
	errSameToken = fault.New(fault.ProviderUnavailable, "the provider issued the token again that it rejected").WithRetryDelay(firstBackoff)
)

// attempt takes the lease, looks again, and makes one token request.
func (e *entry) attempt(f flight) (*token.Token, error) {
	ctx, cancel := context.WithTimeout(e.cache.ctx, flightTimeout)
	defer cancel()
	lease, err := e.cache.options.Store.Lock(ctx, e.key)
	if err != nil {
		return nil, e.explain(err)
	}
	defer lease.Release()
	now := e.cache.options.Clock.Now()
	record := lease.Record()
	if record.Token != nil && f.accept(record.Token) {
		return e.adopt(record.Token), nil
	}
	if record.Failure.holds(now) {
		e.failure.Store(record.Failure)
		return nil, record.Failure.err(now)
	}
	if f.forced {
		wait, err := lease.CountForced(ctx, e.cache.options.ForcedLimit, e.cache.options.ForcedWindow)
		if err != nil {
			return nil, e.explain(err)
		}
		if wait > 0 {
			return nil, fault.New(fault.RateLimited, "too many forced renewals of this credential").WithRetryDelay(wait)
		}
	}
	return e.request(ctx, lease, f)
}

// request makes the token request and stores what comes of it.
func (e *entry) request(ctx context.Context, lease Lease, f flight) (*token.Token, error) {
	fresh, err := e.source.RequestToken(ctx)
	if err != nil {
		return nil, e.fail(ctx, lease, err)
	}
	standing, err := lease.Commit(ctx, fresh, f.forced)
	if err != nil {
		return nil, e.explain(err)
	}
	if standing == nil || (f.forced && !f.accept(standing)) {
		return nil, errSameToken
	}
	return e.adopt(standing), nil
}

// fail remembers a failed request, and returns what callers are told.
func (e *entry) fail(ctx context.Context, lease Lease, err error) error {
	if e.cache.ctx.Err() != nil {
		return e.explain(err)
	}
	now := e.cache.options.Clock.Now()
	failure := nextFailure(lease.Record().Failure, fault.From(err), now, e.cache.options.Random())
	e.failure.Store(failure)
	if err := lease.Fail(ctx, failure); err != nil {
		e.cache.options.Logger.Warn("a failed token request could not be stored", "type", fmt.Sprintf("%T", err))
	}
	return failure.err(now)
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
