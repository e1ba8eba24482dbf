package broker

import (
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
)

// errDenied is the same for credentials that exist and for those that do not.
var errDenied = fault.New(fault.AccessDenied, "the caller has no grant for this credential ID")

// ErrManyDenials is the answer to what would be denied, and is not recorded any more. That
// too is the same whatever there is.
var ErrManyDenials = fault.New(fault.RateLimited, "the caller asks too often for what it has no grant for, or for what can be no credential ID: wait").
	WithRetryDelay(time.Second)

// Denials bound how many denials of each caller are recorded.
type Denials interface {
	// Allow counts a denial, and reports whether it is to be recorded.
	Allow(caller access.Caller) bool
}

// needsNoGrant reports whether any caller can have a decision come to this.
func needsNoGrant(err error) bool {
	if err == nil {
		return false
	}
	reason := fault.From(err).Reason
	return reason == fault.AccessDenied || reason == fault.InvalidRequest
}

func (b *Broker) allowDenial(caller access.Caller) bool {
	return b.denials == nil || b.denials.Allow(caller)
}

// refused returns the error of a caller that was not admitted: ErrManyDenials in place of one denial
// too many.
func (b *Broker) refused(caller access.Caller, err error) error {
	if needsNoGrant(err) && !b.allowDenial(caller) {
		return ErrManyDenials
	}
	return err
}

// decide decides what is not remembered whether the caller may use a credential. It remembers the
// decision, unless there can be no credential of this ID.
func (g *Generation) decide(caller, id string) (*decision, error) {
	if !credentials.ValidID(id) {
		return nil, fault.New(fault.InvalidRequest, "the credential ID must match "+credentials.IDPattern)
	}
	return g.decisions.decide(caller, id, g.providerOf), nil
}

// providerOf returns the provider of a credential; empty: there is none of this ID.
func (g *Generation) providerOf(id string) string { return g.providers[id] }
