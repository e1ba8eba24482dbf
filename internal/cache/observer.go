package cache

import "time"

// Observer counts the events of one token. The Cache uses the Observer even during calls that are
// answered from memory, so the methods of an Observer must not block, and must not call the Cache.
type Observer interface {
	// Warm returns the counter of the calls that are answered from memory.
	Warm() Counter
	// Answered is called for each call that is not answered from memory.
	Answered(tier Tier)
	// Waited is called after a call has waited for a refresh, whether or not the refresh succeeded,
	// with the duration of the wait.
	Waited(wait time.Duration)
	// Renewed is called when a token that callers received before has been renewed, or when a call
	// finds that such a token has expired.
	Renewed(when Renewal)
	// RenewalFailed is called when a renewal in the background failed, with its error, the time of
	// the next attempt, and the end of the token. A token is not renewed after its end.
	RenewalFailed(err error, next, end time.Time)
	// Forced is called with the result of each forced renewal, which replaces a rejected token.
	Forced(outcome Forced)
}

// Counter counts events, as a Prometheus counter does.
type Counter interface{ Inc() }

// Tier describes where the answer to a call came from.
type Tier int

// These are the values of Tier.
const (
	FromMemory    Tier = iota // the answer is the current token
	FromRefresh               // the answer is the token that a refresh brought
	FromMargin                // the answer is the current token, in its safety margin, while token requests fail
	FromFailure               // the answer is the error of an earlier token request, during the back-off
	RefreshFailed             // the answer is the error of a refresh that brought no token
	GaveUp                    // there is no answer: the call was cancelled, or its deadline passed
)

// Renewal reports whether a token was renewed in time.
type Renewal int

// These are the values of Renewal.
const (
	Early Renewal = iota // the token was renewed in the background, before it expired
	Late                 // the token was renewed after a call found that it had expired
)

// Forced is the result of a forced renewal.
type Forced int

// These are the results of forced renewals.
const (
	ForcedReplaced  Forced = iota // the rejected token was replaced
	ForcedLimited                 // too many forced renewals or token requests were made recently
	ForcedSameToken               // the provider issued only rejected tokens
	ForcedFailed                  // the token request failed, or may not be made yet
)

// unobserved, which does nothing, is the Observer of a Cache for which none is configured.
type unobserved struct{}

func (unobserved) Warm() Counter                             { return unobserved{} }
func (unobserved) Inc()                                      {}
func (unobserved) Answered(Tier)                             {}
func (unobserved) Waited(time.Duration)                      {}
func (unobserved) Renewed(Renewal)                           {}
func (unobserved) Forced(Forced)                             {}
func (unobserved) RenewalFailed(error, time.Time, time.Time) {}
