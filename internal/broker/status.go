package broker

import (
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/strategies"
)

// State is what this replica knows about a credential: the name of a value of the proto enum
// CredentialState, without the enum's prefix.
type State string

// These are the states of a credential, which the proto enum CredentialState documents.
const (
	Ready          State = "READY"
	NotYetUsed     State = "NOT_YET_USED"
	RenewalFailing State = "RENEWAL_FAILING"
	Refused        State = "REFUSED"
	Unavailable    State = "UNAVAILABLE"
	Disabled       State = "DISABLED"
)

// Status is what this replica knows about a credential. All times are wall-clock times. A time is
// zero if the event did not happen, or if its time is unknown.
type Status struct {
	State State
	// Since is when the credential got this state. It is zero if the credential has had this state
	// since the Broker began to serve its present values.
	Since time.Time
	// Explanation is one or more sentences that explain the state to people. It contains no secret.
	Explanation string
	// Active is the status of the declared credential or of the active version.
	Active MaterialStatus
	// Canary is the status of the canary, or nil if there is no canary.
	Canary *MaterialStatus
	// RequestsToday is the number of token requests for the credential since midnight UTC.
	RequestsToday int64
}

// MaterialStatus is what this replica knows about the material of one version of a credential. For
// static material, the times of the token are zero.
type MaterialStatus struct {
	// Version is the number of the version, or 0 for a declared credential.
	Version int
	// ObtainTime and ExpireTime are when the provider issued the token that callers get, and from
	// when on the token must not be used.
	ObtainTime, ExpireTime time.Time
	// RenewTime is when the renewal of the token is scheduled.
	RenewTime time.Time
	// LastAttempt is the latest token request of this replica, or nil.
	LastAttempt *Attempt
	// NextAttemptTime is the earliest time of the next token request after a failure.
	NextAttemptTime time.Time
	// LastReportTime is when a caller last reported that the provider rejects the material, and
	// Reports is the number of these reports.
	LastReportTime time.Time
	Reports        int64
}

// Attempt is the outcome of one token request.
type Attempt struct {
	Time time.Time // wall-clock time at which the request ended
	// Status is the HTTP status of the answer, or 0 if no answer arrived.
	Status int
	// OAuthError is the error code in the answer, if it is a registered one.
	OAuthError string
	// Problem is a sentence that explains why no token was issued. It is empty if a token was
	// issued.
	Problem string
}

// Status returns the status of a credential. The result is false if the Broker serves no credential
// with this ID.
func (b *Broker) Status(id string) (Status, bool) {
	e := b.current.Load().entries.get(id)
	if e == nil {
		return Status{}, false
	}
	now := b.options.Clock.Now()
	is := b.condition(e, now)
	status := Status{
		State: is.state, Since: b.wall(is.since), Explanation: is.explanation,
		Active: b.material(e, now), RequestsToday: b.requests.today(id, b.wall(now)),
	}
	if e.canary != nil {
		canary := b.material(e.canary, now)
		status.Canary = &canary
		switch of := b.condition(e.canary, now); of.state {
		case Ready, Disabled:
		case NotYetUsed:
			status.Explanation += " Nobody has used the canary yet."
		default:
			status.Explanation += " Canary: " + of.explanation
		}
	}
	return status, true
}

// State returns the state of a credential, and since when it has this state: see Status. The result
// is "" if the Broker serves no credential with this ID.
func (b *Broker) State(id string) (state State, since time.Time) {
	e := b.current.Load().entries.get(id)
	if e == nil {
		return "", time.Time{}
	}
	is := b.condition(e, b.options.Clock.Now())
	return is.state, b.wall(is.since)
}

// States returns the number of credentials in each state.
func (b *Broker) States() map[State]int {
	states, now := make(map[State]int), b.options.Clock.Now()
	for e := range b.current.Load().entries.all() {
		states[b.condition(e, now).state]++
	}
	return states
}

func (b *Broker) material(e *entry, now time.Time) MaterialStatus {
	m := MaterialStatus{}
	if e.credential.Stored != nil {
		m.Version = e.credential.Stored.Number
	}
	a := e.opened.Load()
	if a == nil || e.credential.Disabled {
		return m
	}
	m.LastAttempt, m.Reports = a.attempt.Load(), a.reports.Load()
	if at := a.reported.Load(); at != nil {
		m.LastReportTime = b.wall(*at)
	}
	if a.source == nil {
		return m
	}
	s := b.options.Tokens.Status(a.tokenKey)
	if s.Failure != nil {
		m.NextAttemptTime = b.wall(s.Failure.Until)
	}
	served := s.Token
	if g := b.graceOf(a); g != nil {
		served = g.previous.latest.Load().token
	}
	if served != nil && now.Before(served.LastEnd()) {
		m.ObtainTime, m.ExpireTime = b.wall(served.RequestedAt.Add(served.Delay)), b.wall(served.ExpireTime())
		m.RenewTime = b.wall(s.RenewTime)
		if s.RenewTime.IsZero() && s.Token == served && e.credential.KeepWarm {
			m.RenewTime = b.wall(served.RenewTime(0))
		}
		if s.Failure != nil && s.Token == served {
			m.NextAttemptTime = b.wall(s.Failure.RenewalUntil)
		}
	}
	return m
}

// TokenRequested must be called with the outcome of each token request.
func (b *Broker) TokenRequested(event strategies.TokenRequestEvent) {
	if event.Err != nil && event.Err.Reason == fault.RateLimited {
		return // the request was not sent
	}
	attempt := &Attempt{
		Time: b.wall(b.options.Clock.Now()), Status: event.Status, OAuthError: event.OAuthError,
	}
	if event.Err != nil {
		attempt.Problem = event.Err.Message
	}
	for _, a := range b.index.users(event.TokenKey) {
		a.attempt.Store(attempt)
	}
	b.requests.count(event.Provider, b.CredentialsOf(event.TokenKey), event.Err != nil, attempt.Time)
}
