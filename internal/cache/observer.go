package cache

import "time"

// Observer is told what becomes of one token, so that it can be counted. A warm call
// passes through it: its methods must not wait, and not call the Cache.
type Observer interface {
	// Warm returns what counts the calls that are answered from memory.
	Warm() Counter
	// Answered says where the answer to another call came from.
	Answered(tier Tier)
	// Waited says how long a call waited for a flight, whatever came of that.
	Waited(wait time.Duration)
	// Renewed says that the successor of a token that was served came, or was missed.
	Renewed(when Renewal)
	// RenewalFailed reports that a renewal in the background failed, when the next attempt
	// is due, and when the token at hand ends. There is no attempt after that end.
	RenewalFailed(err error, next, end time.Time)
	// Forced says what came of a flight that was to replace a rejected token.
	Forced(outcome Forced)
}

// Counter counts events. It is that of Prometheus.
type Counter interface{ Inc() }

// Tier is where the answer to a call came from.
type Tier int

// The tiers.
const (
	FromMemory   Tier = iota // the token at hand
	FromFlight               // a flight that brought a token
	FromMargin               // the token at hand, in its safety margin, while requests fail
	FromFailure              // an earlier failure, while no request may be made
	FlightFailed             // a flight that brought none
	GaveUp                   // nowhere: the caller's time was up first
)

// Renewal is when the successor of a token that was served came.
type Renewal int

// The renewals.
const (
	// Early is in the background, before the token expired.
	Early Renewal = iota
	// Late is after a call found the token expired.
	Late
)

// Forced is what came of a forced renewal.
type Forced int

// The outcomes.
const (
	ForcedReplaced  Forced = iota // there is another token
	ForcedLimited                 // there were too many renewals or requests lately
	ForcedSameToken               // the provider issued none that it has not rejected
	ForcedFailed                  // the request failed, or may not be made yet
)

// unobserved is the Observer of a Cache that has none.
type unobserved struct{}

func (unobserved) Warm() Counter        { return unobserved{} }
func (unobserved) Inc()                 {}
func (unobserved) Answered(Tier)        {}
func (unobserved) Waited(time.Duration) {}
func (unobserved) Renewed(Renewal)      {}
func (unobserved) Forced(Forced)        {}

func (unobserved) RenewalFailed(error, time.Time, time.Time) {}
