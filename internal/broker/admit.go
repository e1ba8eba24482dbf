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

// admit is that of a snapshot, with ErrManyDenials in place of one denial too many.
func (b *Broker) admit(s *snapshot, caller access.Caller, id string) (a *account, grant string, err error) {
	a, grant, err = s.admit(caller, id)
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

// admit returns the account of an ID if the caller may use it, and where the grant
// stands. What a caller is told who may not use it does not depend on what there is.
func (s *snapshot) admit(caller access.Caller, id string) (a *account, grant string, err error) {
	if !credentials.ValidID(id) {
		return nil, "", fault.New(fault.InvalidRequest, "the credential ID must match "+credentials.IDPattern)
	}
	a = s.accounts[id]
	provider := s.disabled[id]
	if a != nil {
		provider = a.credential.Provider.ID
	}
	decision := s.policy.Decide(caller.Name, access.Use, access.Object{CredentialID: id, Provider: provider})
	if decision.Grant != nil {
		grant = decision.Grant.Source
	}
	switch {
	case !decision.Allowed:
		return nil, "", errDenied
	case a == nil:
		return nil, grant, fault.New(fault.CredentialNotFound, fmt.Sprintf("there is no credential %q, or it is disabled", id))
	default:
		return a, grant, nil
	}
}

// decision is what an audit record says of a call from its beginning.
func decision(caller access.Caller, operation audit.Operation, id string) audit.Record {
	return audit.Record{Caller: caller, Operation: operation, Action: access.Use, CredentialID: id}
}

// audited writes the record of an outcome, and returns the answer: the outcome, with times of
// the wall clock, unless the record cannot be written.
func (b *Broker) audited(ctx context.Context, record audit.Record, d *Decoration, err error) (*Decoration, error) {
	if failed := b.record(ctx, record, d, err); failed != nil {
		return nil, failed
	}
	return b.onWall(d), err
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
