package cache

import (
	"time"

	"github.com/authmaterial/broker/internal/fault"
)

// How long to wait after a failure. A refusal is remembered for longer: only a change
// of the credential can cure it.
const (
	firstRefusal = 30 * time.Second
	lastRefusal  = 15 * time.Minute

	// A caller that waits for a token, or reports one, has the provider asked again within 10
	// seconds, jitter included. The renewal of a token that is still good can wait for longer.
	firstBackoff       = time.Second
	lastBackoff        = 8 * time.Second
	lastRenewalBackoff = time.Minute
	// A backoff is lengthened by up to this part of itself, so that replicas and
	// credentials which failed together do not ask again together.
	backoffJitter = 0.25
)

// Failure is a token request that brought no token.
type Failure struct {
	// Fault is what callers are told. Its RetryDelay does not count.
	Fault *fault.Error
	// Until is when the next request may be made for a caller.
	Until time.Time
	// RenewalUntil is when the next one may be made to renew a token that is still good. It is
	// not before Until.
	RenewalUntil time.Time
	// Count is how many failures there were in a row: refusals or others.
	Count   int
	Refusal bool // which of the two
}

// nextFailure returns the failure that follows previous, which may be nil. There is a good token
// until goodUntil. The jitter is from 0 to 1.
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
		Fault: what, Until: now.Add(wait), RenewalUntil: now.Add(max(wait, renewalWait)), Count: count, Refusal: isRefusal(what),
	}
}

// overBudget returns the failure of a request that the broker's own budget kept from
// being made. Nothing was learned from it, so the count of what came before stays.
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

// until returns when the next request may be made: to renew a good token, or for a caller.
func (f *Failure) until(renewal bool) time.Time {
	if renewal {
		return f.RenewalUntil
	}
	return f.Until
}

// holds reports whether the failure still keeps requests from being made.
func (f *Failure) holds(now time.Time, renewal bool) bool {
	return f != nil && now.Before(f.until(renewal))
}

// err is what a caller is told at the time now.
func (f *Failure) err(now time.Time) error { return f.Fault.WithRetryDelay(f.Until.Sub(now)) }
