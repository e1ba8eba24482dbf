package cache

import "time"

// Observer counts what happens to one token. Warm calls use it too: its methods must not wait, and not
// call the Cache.
type Observer interface {
	// Warm returns the counter of calls that are answered from memory.
	Warm() Counter
	// Answered is called for each other call.
	Answered(tier Tier)
	// Waited is called with the time that a call waited for a refresh, whether that succeeded or not.
	Waited(wait time.Duration)
	// Renewed is called when a token that was served has a successor, or a call finds it expired.
	Renewed(when Renewal)
	// RenewalFailed is called when a renewal in the background failed, with the times of the next attempt
	// and of the end of the token. There is no attempt after that end.
	RenewalFailed(err error, next, end time.Time)
	// Forced is called with the result of a refresh that was to replace a rejected token.
	Forced(outcome Forced)
}

// Counter counts events, as those of Prometheus do.
type Counter interface{ Inc() }

// Tier is the source of the answer to a call.
type Tier int

// The tiers.
const (
	FromMemory    Tier = iota // the current token
	FromRefresh               // a refresh that brought a token
	FromMargin                // the current token, in its safety margin, while requests fail
	FromFailure               // an earlier failure, while no request may be made
	RefreshFailed             // a refresh that brought no token
	GaveUp                    // none: the call was cancelled, or its deadline passed
)

// Renewal is when a token that was served is renewed.
type Renewal int

// The renewals.
const (
	Early Renewal = iota // in the background, before the token expired
	Late                 // after a call found the token expired
)

// Forced is the result of a forced renewal.
type Forced int

// The results.
const (
	ForcedReplaced  Forced = iota // there is another token
	ForcedLimited                 // there were too many renewals or requests lately
	ForcedSameToken               // the provider issued only rejected tokens
	ForcedFailed                  // the request failed, or may not be made yet
)

// unobserved is the Observer of a Cache that has none.
type unobserved struct{}

func (unobserved) Warm() Counter                             { return unobserved{} }
func (unobserved) Inc()                                      {}
func (unobserved) Answered(Tier)                             {}
func (unobserved) Waited(time.Duration)                      {}
func (unobserved) Renewed(Renewal)                           {}
func (unobserved) Forced(Forced)                             {}
func (unobserved) RenewalFailed(error, time.Time, time.Time) {}
