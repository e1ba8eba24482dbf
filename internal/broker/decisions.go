package broker

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/access"
)

// How many callers and how many decisions a Generation remembers. Each has one place: another one
// with the same place replaces it.
const (
	callerPlaces   = 1 << 10
	decisionPlaces = 1 << 14
)

// decisions remember which grants a caller has, and what they decide. What they remember, and how
// long a decision takes, does not depend on which credentials there are.
type decisions struct {
	policy  *access.Policy
	seed    maphash.Seed
	callers [callerPlaces]atomic.Pointer[callerGrants]
	made    [decisionPlaces]atomic.Pointer[decision]
}

// callerGrants are the grants by which a caller may use credentials.
type callerGrants struct {
	caller string
	grants access.Grants
}

// decision is whether a caller may use a credential.
type decision struct {
	caller, id string
	allowed    bool
	grant      string // where the grant stands that allows it; empty: none does, or none is needed
}

func newDecisions(policy *access.Policy) *decisions {
	return &decisions{policy: policy, seed: maphash.MakeSeed()}
}

// decide returns whether a caller may use a credential, of which provider returns the provider; it
// is called only where the grants ask for it, whatever the credential. It remembers the decision.
func (d *decisions) decide(caller, id string, provider func(id string) string) *decision {
	grants := d.grantsOf(caller)
	object := access.Object{CredentialID: id}
	if grants.NameProviders() {
		object.Provider = provider(id)
	}
	by := grants.Decide(object)
	made := &decision{caller: caller, id: id, allowed: by.Allowed}
	if by.Grant != nil {
		made.grant = by.Grant.Source
	}
	d.place(caller, id).Store(made)
	return made
}

// grantsOf returns the grants of a caller.
func (d *decisions) grantsOf(caller string) access.Grants {
	place := &d.callers[maphash.String(d.seed, caller)%callerPlaces]
	if known := place.Load(); known != nil && known.caller == caller {
		return known.grants
	}
	made := &callerGrants{caller: caller, grants: d.policy.Of(caller, access.Use)}
	place.Store(made)
	return made.grants
}
