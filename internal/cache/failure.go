package cache

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/fault"
)

const (
	// After a provider rejected a credential, the broker waits longer, because somebody has to
	// change the credential.
	firstRefusal = 30 * time.Second
	lastRefusal  = 15 * time.Minute

	// While a caller waits for a token or reports one as rejected, the next token request is made
	// within 10 seconds, including the random part of the wait. The renewal of a token that has not
	// expired can wait longer.
	firstBackoff       = time.Second
	lastBackoff        = 8 * time.Second
	lastRenewalBackoff = time.Minute
	// A random part, at most backoffJitter times the back-off, is added to each back-off, so that
	// replicas whose requests failed at the same time repeat them at different times.
	backoffJitter = 0.25
)

// A Failure is a token request that brought no token.
type Failure struct {
	// Fault is the error for callers. When a caller gets the error, its RetryDelay is computed from
	// Until.
	Fault *fault.Error
	// Until is the time until which the broker requests no token for a waiting caller.
	Until time.Time
	// RenewalUntil is the time until which the broker does not renew a token that has not expired.
	// RenewalUntil is not before Until.
	RenewalUntil time.Time
	// Count is the number of consecutive failures of the same kind. If Refusal is set, the provider
	// rejected the credential each time; otherwise the requests failed for other reasons.
	Count   int
	Refusal bool
}

// nextFailure returns the Failure for the error `what`. The argument `previous` is the failure of
// the previous token request, or nil if there is none. The current token expires at goodUntil. The
// jitter is a number from 0 to 1.
func nextFailure(previous *Failure, what *fault.Error, now, goodUntil time.Time, jitter float64) *Failure {
	if what.Reason == fault.RateLimited {
		return overBudget(previous, what, now)
	}
	count := 1
	if previous != nil && previous.Refusal == isRefusal(what) {
		count = previous.Count + 1
	}
	var wait, renewalWait time.Duration
	if isRefusal(what) {
		wait = max(doubled(firstRefusal, lastRefusal, count), what.RetryDelay)
	} else {
		lengthen := func(wait time.Duration) time.Duration {
			return wait + time.Duration(jitter*backoffJitter*float64(wait))
		}
		wait = lengthen(max(doubled(firstBackoff, lastBackoff, count), what.RetryDelay))
		renewalWait = min(lengthen(doubled(firstBackoff, lastRenewalBackoff, count)), goodUntil.Sub(now))
	}
	return &Failure{
		Fault: what, Until: now.Add(wait), RenewalUntil: now.Add(max(wait, renewalWait)),
		Count: count, Refusal: isRefusal(what),
	}
}

// overBudget returns the failure of a token request that the broker's own rate limit prevented.
// Such a failure does not change the Count.
func overBudget(previous *Failure, what *fault.Error, now time.Time) *Failure {
	until := now.Add(what.RetryDelay)
	failure := &Failure{Fault: what, Until: until, RenewalUntil: until}
	if previous != nil {
		failure.Count, failure.Refusal = previous.Count, previous.Refusal
	}
	return failure
}

func isRefusal(what *fault.Error) bool { return what.Reason == fault.CredentialRejected }

// doubled returns a duration that starts at `first` for a count of 1, doubles with each further
// count, and never exceeds `last`.
func doubled(first, last time.Duration, count int) time.Duration {
	wait := first
	for range count - 1 {
		if wait *= 2; wait >= last {
			return last
		}
	}
	return wait
}

// until returns RenewalUntil for a renewal, and Until for a waiting caller.
func (f *Failure) until(renewal bool) time.Time {
	if renewal {
		return f.RenewalUntil
	}
	return f.Until
}

// prevents reports whether the failure forbids a token request now.
func (f *Failure) prevents(now time.Time, renewal bool) bool {
	return f != nil && now.Before(f.until(renewal))
}

func (f *Failure) err(now time.Time) error { return f.Fault.WithRetryDelay(f.Until.Sub(now)) }

// setFailure stores the failure of a token request in the entry. The stamp `seen` must be from
// before the last read of the Store.
func (e *entry) setFailure(failure *Failure, seen stamp) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.update(func(s *snapshot) { s.failure, s.epoch = failure, max(s.epoch, seen.cacheEpoch) })
}

// backoff returns the failure that forbids token requests now, or nil. If both the failure in the
// Store and this replica's own failure forbid token requests, backoff returns the one that forbids
// them longer.
func (e *entry) backoff(stored *Failure, renewal bool) *Failure {
	now, own := e.cache.options.Clock.Now(), e.snapshot.Load().failure
	switch {
	case own.prevents(now, renewal) && (stored == nil || stored.until(renewal).Before(own.until(renewal))):
		return own
	case stored.prevents(now, renewal):
		return stored
	default:
		return nil
	}
}

// newFailure returns the failure of a token request. The wait after this failure grows with each
// consecutive failure. The wait is computed from the previous failure in the Store, or else from
// this replica's own last failure, so that the wait does not become shorter when the Store is
// emptied. The wait does not last beyond the time `latest`, if that is in the future.
func (e *entry) newFailure(previous *Failure, err error, latest time.Time) *Failure {
	now, s := e.cache.options.Clock.Now(), e.snapshot.Load()
	if previous == nil {
		previous = s.failure
	}
	failure := nextFailure(previous, fault.From(err), now, s.expireTime, e.cache.options.Random())
	if latest.After(now) && latest.Before(failure.RenewalUntil) {
		failure.RenewalUntil = latest
		if latest.Before(failure.Until) {
			failure.Until = latest
		}
	}
	return failure
}

// storeFailure stores a failure in the Store, and returns its error for callers. storeFailure
// returns ErrLeaseLost when another replica took the lease meanwhile, because that replica may
// bring a token.
func (e *entry) storeFailure(ctx context.Context, lease Lease, failure *Failure, seen stamp) error {
	if err := lease.Fail(context.WithoutCancel(ctx), failure); errors.Is(err, ErrLeaseLost) {
		return err
	}
	e.setFailure(failure, seen)
	return failure.err(e.cache.options.Clock.Now())
}
