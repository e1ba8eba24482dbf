package broker

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/fault"
)

// decisionSlots is the maximum number of access decisions that a Generation caches. Each pair of
// caller and credential ID is hashed to a slot, whether or not the credential exists. A decision
// replaces the earlier one in its slot.
const decisionSlots = 1 << 14

// errDenied is the error of each denied call: the same for existing and missing credentials, so
// that a caller cannot find out which credentials exist.
var errDenied = fault.New(fault.AccessDenied, "the caller has no grant for this credential ID")

// errPending is the error for IDs that may belong to managed credentials, while these are unknown.
var errPending = fault.New(fault.StoreUnavailable,
	"the credential store has not been read yet, and the configuration declares no credential with this ID").WithRetryDelay(time.Second)

// ErrManyDenials is the error of a call that is denied or has an invalid ID after the caller has
// reached the limit of Options.Denials. The call has no audit record. The error is the same for
// existing and missing credentials.
var ErrManyDenials = fault.New(fault.RateLimited,
	"too many calls of this caller were denied or had an invalid credential ID: wait").WithRetryDelay(time.Second)

type decision struct {
	caller, id string
	groups     []string
	allowed    bool
	later      bool                      // whether the decision can still change because the managed credentials are not known yet
	latest     atomic.Pointer[latestUse] // nil before the first call
	grant      string                    // the grant's position in the configuration; empty if access is denied, or if callers need no grant
}

func (g *Generation) decide(caller *access.Caller, id string) *decision {
	policy, object, unknown := g.Config.Policy, access.Object{CredentialID: id}, g.pending
	if policy.NamesProviders() {
		if e := g.entries.get(id); e != nil {
			object.Provider, unknown = e.credential.Provider.ID, false
		}
	}
	by := policy.Decide(caller, access.Use, object)
	made := &decision{caller: caller.Name, id: id, groups: caller.Groups, allowed: by.Allowed}
	if by.Grant != nil {
		made.grant = by.Grant.Source
	}
	made.later = unknown && !by.Allowed && slices.ContainsFunc(policy.GrantsOf(access.Use), func(grant access.Grant) bool {
		return len(grant.Providers) > 0 && caller.Matches(grant.Callers)
	})
	return made
}

// isDenial reports whether even a caller without grants can cause this error.
func isDenial(err error) bool {
	reason := fault.From(err).Reason
	return reason == fault.AccessDenied || reason == fault.InvalidRequest
}

func (b *Broker) allowsDenial(caller access.Caller) bool {
	return b.options.Denials == nil || b.options.Denials.Allow(caller)
}
