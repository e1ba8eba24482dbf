package cache

import "time"

// Observer counts the events of one token. The Cache also uses the Observer during calls that
// are answered from memory, so the methods of an Observer must not wait, and must not call the
// Cache.
type Observer interface {
	// Warm returns the counter of the calls that are answered from memory.
	Warm() Counter
	// Answered is called for each call that is not answered from memory.
	Answered(tier Tier)
	// Waited is called after a call has waited for a refresh, whether the refresh succeeded or
	// not. The parameter of Waited is the time that the call waited.
	Waited(wait time.Duration)
	// Renewed is called when a token that callers received before has been renewed, or when a
	// call finds that such a token has expired.
	Renewed(when Renewal)
	// RenewalFailed is called when a renewal in the background failed. The parameters of
	// RenewalFailed are the error, the time of the next attempt, and the end of the token. After
	// the end of the token, no attempt to renew the token is made.
	RenewalFailed(err error, next, end time.Time)
	// Forced is called after a forced renewal, which replaces a rejected token. The parameter of
	// Forced is the result of the forced renewal.
	Forced(outcome Forced)
}

// Counter counts events, as a Prometheus counter does.
type Counter interface{ Inc() }

// Tier says where the answer to a call comes from.
type Tier int

// These constants are the possible sources of an answer.
const (
	FromMemory    Tier = iota // the answer is the current token
	FromRefresh               // the answer is the token that a refresh brought
	FromMargin                // the answer is the current token, in its safety margin, while token requests fail
	FromFailure               // the answer is the error of an earlier token request, during the back-off
	RefreshFailed             // the answer is the error of a refresh that brought no token
	GaveUp                    // there is no answer: the call was cancelled, or its deadline passed
)

// Renewal is a kind of renewal: a token is renewed before it expires, or after a call found that it
// had expired.
type Renewal int

// These constants are the kinds of renewals.
const (
	Early Renewal = iota // the token was renewed in the background, before it expired
	Late                 // the token was renewed after a call found that it had expired
)

// Forced is the result of a forced renewal.
type Forced int

// These constants are the results of forced renewals.
const (
	ForcedReplaced  Forced = iota // the rejected token was replaced
	ForcedLimited                 // too many forced renewals or token requests were made recently
	ForcedSameToken               // the provider issued only rejected tokens
	ForcedFailed                  // the token request failed, or may not be made yet
)

// unobserved is an Observer that does nothing. A Cache uses this type if no Observer
// is configured.
type unobserved struct{}

func (unobserved) Warm() Counter                             { return unobserved{} }
func (unobserved) Inc()                                      {}
func (unobserved) Answered(Tier)                             {}
func (unobserved) Waited(time.Duration)                      {}
func (unobserved) Renewed(Renewal)                           {}
func (unobserved) Forced(Forced)                             {}
func (unobserved) RenewalFailed(error, time.Time, time.Time) {}
