package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
)

// errDenied is the same for a credential that there is and for one that there is not.
var errDenied = fault.New(fault.AccessDenied, "the caller has no grant for this credential ID")

// ErrManyDenials is the answer to what would be denied, and is not recorded any more. That
// too is the same whatever there is.
var ErrManyDenials = fault.New(fault.RateLimited, "the caller asks too often for what it has no grant for, or for what can be no credential ID: wait").
	WithRetryDelay(time.Second)

// Denials bound how many denials of each caller are recorded.
type Denials interface {
	// Allow counts a denial, and says whether it is to be recorded.
	Allow(caller access.Caller) bool
}

// admit returns the account of an ID if the caller has a grant for it, with ErrManyDenials in
// place of one denial too many.
func (b *Broker) admit(g *Generation, caller access.Caller, id string) (a *account, grant string, err error) {
	a, grant, err = g.admit(caller.Name, id)
	if needsNoGrant(err) && !b.allowDenial(caller) {
		err = ErrManyDenials
	}
	return a, grant, err
}

// needsNoGrant says whether any caller can have a decision come to this.
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

// admit returns the account of an ID if the caller may use it, and the place of the grant in the
// configuration. Without a grant, neither the answer nor the work that it takes depends on what
// there is: the credential is looked up after the decision.
func (g *Generation) admit(caller, id string) (a *account, grant string, err error) {
	if !credentials.ValidID(id) {
		return nil, "", fault.New(fault.InvalidRequest, "the credential ID must match "+credentials.IDPattern)
	}
	decided := g.decisions.decide(caller, id, g.providerOf)
	if !decided.allowed {
		return nil, "", errDenied
	}
	if a = g.accounts[id]; a == nil {
		return nil, decided.grant, fault.New(fault.CredentialNotFound, fmt.Sprintf("there is no credential %q, or it is disabled", id))
	}
	return a, decided.grant, nil
}

// providerOf returns the provider of a credential; empty: there is none of this ID.
func (g *Generation) providerOf(id string) string { return g.providers[id] }

// recordOf is what an audit record says of a call from its beginning.
func recordOf(caller access.Caller, operation audit.Operation, id string) audit.Record {
	return audit.Record{Caller: caller, Operation: operation, Action: access.Use, CredentialID: id}
}

// audited writes the record of an outcome, and returns the answer: the outcome, unless the record
// cannot be written.
func (b *Broker) audited(ctx context.Context, record audit.Record, d *Decoration, err error) (*Decoration, error) {
	if failed := b.record(ctx, record, d, err); failed != nil {
		return nil, failed
	}
	return d.forCallers(), err
}

// record writes the record of an outcome. After an error that must not go out.
func (b *Broker) record(ctx context.Context, record audit.Record, d *Decoration, err error) error {
	if b.audit == nil || errors.Is(err, ErrManyDenials) {
		return nil
	}
	record.Outcome = "OK"
	if err != nil {
		record.Outcome = fault.From(err).Reason.String()
		if ctx.Err() != nil && !needsNoGrant(err) { // a denial is one, whoever waits for it
			record.Outcome = "CALLER_GONE"
		}
	}
	if d != nil {
		record.Version = d.Version
	}
	if b.audit.Write(ctx, record) != nil {
		return fault.New(fault.Internal, "the audit record could not be written")
	}
	return nil
}
