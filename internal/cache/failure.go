package cache

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/fault"
)

// How long to wait after a failure.
const (
	// A refusal is remembered for longer, because the credential has to be changed.
	firstRefusal = 30 * time.Second
	lastRefusal  = 15 * time.Minute

	// While a caller waits for a token, or reports one, the provider is asked again within 10 seconds,
	// jitter included. The renewal of a token that has not expired can wait for longer.
	firstBackoff       = time.Second
	lastBackoff        = 8 * time.Second
	lastRenewalBackoff = time.Minute
	// A back-off is lengthened by up to this part of it, so that replicas and credentials whose requests
	// failed together do not repeat them together.
	backoffJitter = 0.25
)

// Failure is a token request that brought no token.
type Failure struct {
	// Fault is the error for callers, apart from its RetryDelay.
	Fault *fault.Error
	// Until is when the next request may be made for a caller.
	Until time.Time
	// RenewalUntil is when the next request may be made to renew a token that has not expired. It is
	// not before Until.
	RenewalUntil time.Time
	// Count is how many failures there were in a row: refusals if Refusal is set, others otherwise.
	Count   int
	Refusal bool
}

// nextFailure returns the failure that follows previous, which may be nil. The current token expires at
// goodUntil. The jitter is from 0 to 1.
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

// overBudget returns the failure of a request that the broker's own rate limit prevented. It keeps the
// count of the previous failure.
func overBudget(previous *Failure, what *fault.Error, now time.Time) *Failure {
	until := now.Add(what.RetryDelay)
	failure := &Failure{Fault: what, Until: until, RenewalUntil: until}
	if previous != nil {
		failure.Count, failure.Refusal = previous.Count, previous.Refusal
	}
	return failure
}

func isRefusal(what *fault.Error) bool { return what.Reason == fault.CredentialRejected }

// doubled is first for a count of 1 and twice as much for each more, at most last.
func doubled(first, last time.Duration, count int) time.Duration {
	wait := first
	for range count - 1 {
		if wait *= 2; wait >= last {
			return last
		}
	}
	return wait
}

// until returns when the next request may be made: for a renewal, or for a caller.
func (f *Failure) until(renewal bool) time.Time {
	if renewal {
		return f.RenewalUntil
	}
	return f.Until
}

// prevents reports whether no request may be made at the time now, because of the failure.
func (f *Failure) prevents(now time.Time, renewal bool) bool {
	return f != nil && now.Before(f.until(renewal))
}

// err returns the error for callers at the time now.
func (f *Failure) err(now time.Time) error { return f.Fault.WithRetryDelay(f.Until.Sub(now)) }

// setFailure stores the failure of a token request. The Store was read after the stamp.
func (e *entry) setFailure(failure *Failure, seen stamp) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.update(func(s *snapshot) { s.failure, s.epoch = failure, max(s.epoch, seen.cacheEpoch) })
}

// backoff returns the failure during which no request may be made, or nil: the stored one, or that
// of this replica, which could not be stored. It is the one that ends later.
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

// newFailure returns the failure of a request, which follows that of the Store, or else that of this
// replica: a Store that was emptied does not shorten the wait. It ends at latest, if that is in the future.
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

// storeFailure stores a failure, and returns its error for callers; or ErrLeaseLost when another
// replica has had the right to make requests meanwhile, and may bring a token.
func (e *entry) storeFailure(ctx context.Context, lease Lease, failure *Failure, seen stamp) error {
	if err := lease.Fail(context.WithoutCancel(ctx), failure); errors.Is(err, ErrLeaseLost) {
		return err
	}
	e.setFailure(failure, seen)
	return failure.err(e.cache.options.Clock.Now())
}
