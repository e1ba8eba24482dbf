package cache

import "time"

// Observer counts the events of one token. Calls that are answered from memory use the Observer
// too, so its methods must not wait, and must not call the Cache.
type Observer interface {
	// Warm returns the counter of the calls that are answered from memory.
	Warm() Counter
	// Answered is called for each call that is not answered from memory.
	Answered(tier Tier)
	// Waited is called with the time that a call waited for a refresh, whether the refresh
	// succeeded or not.
	Waited(wait time.Duration)
	// Renewed is called when a token that was served has been renewed, or when a call finds a
	// token expired that was served before.
	Renewed(when Renewal)
	// RenewalFailed is called when a renewal in the background failed. The parameters are the
	// error, the time of the next attempt, and the end of the token. No attempt is made after
	// the end of the token.
	RenewalFailed(err error, next, end time.Time)
	// Forced is called with the result of a forced renewal, which replaces a rejected token.
	Forced(outcome Forced)
}

// Counter counts events, as a Prometheus counter does.
type Counter interface{ Inc() }

// Tier is where the answer to a call comes from.
type Tier int

// The tiers.
const (
	FromMemory    Tier = iota // the current token
	FromRefresh               // the token that a refresh brought
	FromMargin                // the current token, in its safety margin, while token requests fail
	FromFailure               // the error of an earlier token request, during the back-off
	RefreshFailed             // the error of a refresh that brought no token
	GaveUp                    // no answer: the call was cancelled, or its deadline passed
)

// Renewal reports whether a token was renewed before or after a call found the token expired.
type Renewal int

// The renewals.
const (
	Early Renewal = iota // renewed in the background, before the token expired
	Late                 // renewed after a call found the token expired
)

// Forced is the result of a forced renewal.
type Forced int

// The results.
const (
	ForcedReplaced  Forced = iota // the rejected token was replaced
	ForcedLimited                 // too many forced renewals or token requests were made recently
	ForcedSameToken               // the provider issued only rejected tokens
	ForcedFailed                  // the token request failed, or may not be made yet
)

// unobserved is the Observer that does nothing; a Cache uses it by default.
type unobserved struct{}

func (unobserved) Warm() Counter                             { return unobserved{} }
func (unobserved) Inc()                                      {}
func (unobserved) Answered(Tier)                             {}
func (unobserved) Waited(time.Duration)                      {}
func (unobserved) Renewed(Renewal)                           {}
func (unobserved) Forced(Forced)                             {}
func (unobserved) RenewalFailed(error, time.Time, time.Time) {}
