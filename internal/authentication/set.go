package authentication

import (
	"context"
	"errors"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/fault"
)

// errNobody is the answer to a call without any evidence that counts.
var errNobody = fault.New(fault.CallerUnauthenticated, "the call does not prove who makes it, in any of the ways that the broker accepts")

// Counter counts events. It is that of Prometheus.
type Counter interface{ Inc() }

// Counts count what came of evidence for one method: it was accepted, refused, refused for now
// because its key may be new and is fetched in a moment, or could not be checked.
type Counts struct{ OK, Refused, Deferred, Unavailable Counter }

// Method is one way to find out who calls.
type Method struct {
	Name          string
	Authenticator Authenticator
	Counts        Counts
}

// Set is all methods of one configuration. It does not change.
type Set struct {
	methods []Method
	silent  Authenticator // all, without counts
	counted Authenticator
	nobody  Counter
	// Issuers are those of the tokens that it accepts, for JWT.Use and JWT.Discard.
	Issuers *Issuers
}

// NewSet returns a Set that asks these methods in their order. Calls without any evidence are
// counted by nobody.
func NewSet(issuers *Issuers, nobody Counter, methods ...Method) *Set {
	s := &Set{methods: methods, nobody: nobody, Issuers: issuers}
	var silent, counted []Authenticator
	for _, m := range methods {
		silent, counted = append(silent, m.Authenticator), append(counted, countedAuthenticator{m.Authenticator, m.Counts})
	}
	s.silent, s.counted = Any(silent...), Any(counted...)
	return s
}

// Identify returns who makes a call. The error is a *fault.Error, or that of ctx.
func (s *Set) Identify(ctx context.Context, evidence Evidence) (access.Caller, error) {
	caller, err := s.counted.Authenticate(ctx, evidence)
	if errors.Is(err, ErrNoEvidence) {
		s.nobody.Inc()
		return access.Caller{}, errNobody
	}
	return caller, err
}

// OK returns what counts the calls that a method identifies: for those of a connection that was
// identified before.
func (s *Set) OK(method string) Counter {
	for i := range s.methods {
		if s.methods[i].Name == method {
			return s.methods[i].Counts.OK
		}
	}
	return s.nobody // there is no such method
}

// Recheck is Identify for a caller that was identified before by the same evidence. It counts
// nothing.
func (s *Set) Recheck(ctx context.Context, evidence Evidence) (access.Caller, error) {
	evidence.Proved = true
	caller, err := s.silent.Authenticate(ctx, evidence)
	if errors.Is(err, ErrNoEvidence) {
		err = errNobody
	}
	return caller, err
}

// countedAuthenticator counts what comes of evidence.
type countedAuthenticator struct {
	Authenticator
	counts Counts
}

// Authenticate implements Authenticator.
func (c countedAuthenticator) Authenticate(ctx context.Context, evidence Evidence) (access.Caller, error) {
	caller, err := c.Authenticator.Authenticate(ctx, evidence)
	switch {
	case err == nil:
		c.counts.OK.Inc()
	case errors.Is(err, ErrNoEvidence):
	case errors.Is(err, ErrUnsought):
		c.counts.Deferred.Inc()
	case fault.From(err).Reason == fault.CallerUnauthenticated:
		c.counts.Refused.Inc()
	default:
		c.counts.Unavailable.Inc()
	}
	return caller, err
}
