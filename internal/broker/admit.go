package broker

import (
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/fault"
)

// decisionSlots is how many decisions a Generation remembers. Each pair of caller and ID has one slot,
// whether or not the credential exists. Pairs with the same slot replace each other's decision.
const decisionSlots = 1 << 14

// errDenied is the same for credentials that exist and for those that do not.
var errDenied = fault.New(fault.AccessDenied, "the caller has no grant for this credential ID")

// ErrManyDenials replaces the errors of denials and invalid IDs beyond the limit of Options.Denials.
// Such calls are not recorded. It is the same for credentials that exist and for those that do not.
var ErrManyDenials = fault.New(fault.RateLimited,
	"too many calls of this caller were denied or had an invalid credential ID: wait").WithRetryDelay(time.Second)

// decision is whether a caller may use a credential.
type decision struct {
	caller, id string
	allowed    bool
	grant      string // its position in the configuration; empty: denied, or no grant is needed
}

func (g *Generation) decide(caller, id string) *decision {
	policy, object := g.Config.Policy, access.Object{CredentialID: id}
	if policy.NamesProviders() {
		if a := g.accounts[id]; a != nil {
			object.Provider = a.credential.Provider.ID
		}
	}
	by := policy.Decide(caller, access.Use, object)
	made := &decision{caller: caller, id: id, allowed: by.Allowed}
	if by.Grant != nil {
		made.grant = by.Grant.Source
	}
	return made
}

// isDenial reports whether an error is one that callers without any grant can cause.
func isDenial(err error) bool {
	reason := fault.From(err).Reason
	return reason == fault.AccessDenied || reason == fault.InvalidRequest
}

// allowsDenial counts a denial, and reports whether to record it.
func (b *Broker) allowsDenial(caller access.Caller) bool {
	return b.options.Denials == nil || b.options.Denials.Allow(caller)
}
