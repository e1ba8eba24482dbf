// Package access decides who may do what. It is pure: a decision depends on its
// arguments and the policy, and on nothing else.
package access

import (
	"slices"
	"time"
)

// Action is what a caller wants to do with a credential.
type Action string

// The actions.
const (
	// Use is to get a credential's material, and to report that it was rejected.
	Use Action = "use"
	// Manage is to change a credential. Nothing asks for it yet.
	Manage Action = "manage"
)

// Caller is who asks, as far as that was proved.
type Caller struct {
	// Name is the identity, with its kind before it: `spiffe://DOMAIN/PATH`, `dns:NAME` or
	// `subject:NAME` of a client certificate, `jwt:ISSUER:SUBJECT` with the issuer's name
	// in the configuration, `uid:NUMBER` of a process on this machine, `token:NAME` of a
	// static token, and `local` where nobody is authenticated.
	Name string
	// Method is how the identity was proved: mutual_tls, jwt, peer_user, token or none.
	Method string
	// Address is where the call came from; empty: unknown.
	Address string
	// ExpireTime is when the proof ends; zero: with the connection at the earliest.
	ExpireTime time.Time
}

// Object is the credential that an action is about.
type Object struct {
	CredentialID string
	// Provider is the ID of its provider; empty for a credential that there is not.
	Provider string
}

// Grant allows some callers some actions on some credentials.
type Grant struct {
	// Callers match Caller.Name. At least one.
	Callers []Pattern
	// Credentials match the ID; Providers are IDs of providers. A credential needs to be
	// in one of the two.
	Credentials []Pattern
	Providers   []string
	// Actions are what is allowed. At least one.
	Actions []Action
	// Source is where the grant stands in the configuration, for people.
	Source string
}

// Policy is all grants of a configuration. What none of them allows is denied. The zero
// value denies everything.
type Policy struct {
	grants []Grant
	open   bool
}

// NewPolicy returns a policy of these grants.
func NewPolicy(grants ...Grant) *Policy { return &Policy{grants: slices.Clone(grants)} }

// AllowAll returns the policy of a broker that serves this machine alone.
func AllowAll() *Policy { return &Policy{open: true} }

// Decision is whether something is allowed, and why.
type Decision struct {
	Allowed bool
	// Grant is the first that allows it; nil: the policy has none, or needs none.
	Grant *Grant
}

// AllowsAll says whether everybody may do everything.
func (p *Policy) AllowsAll() bool { return p.open }

// DeniesAll says whether nobody may do anything.
func (p *Policy) DeniesAll() bool { return !p.open && len(p.grants) == 0 }

// Decide says whether the caller of this name may do something. A caller without a name
// may do nothing, unless nobody is told apart.
func (p *Policy) Decide(caller string, action Action, object Object) Decision {
	if p.open {
		return Decision{Allowed: true}
	}
	for i := range p.grants {
		if g := &p.grants[i]; g.allows(caller, action, object) {
			return Decision{Allowed: true, Grant: g}
		}
	}
	return Decision{}
}

func (g *Grant) allows(caller string, action Action, object Object) bool {
	return slices.Contains(g.Actions, action) && g.namesCredential(object) && g.namesCaller(caller)
}

func (g *Grant) namesCaller(caller string) bool {
	return caller != "" && slices.ContainsFunc(g.Callers, func(p Pattern) bool { return p.Matches(caller) })
}

func (g *Grant) namesCredential(object Object) bool {
	return slices.ContainsFunc(g.Credentials, func(p Pattern) bool { return p.Matches(object.CredentialID) }) ||
		object.Provider != "" && slices.Contains(g.Providers, object.Provider)
}

// Equal says whether both decide alike, as far as their grants are the same in the same
// order.
func (p *Policy) Equal(other *Policy) bool {
	return p.open == other.open && slices.EqualFunc(p.grants, other.grants, func(a, b Grant) bool {
		return slices.Equal(a.Callers, b.Callers) && slices.Equal(a.Credentials, b.Credentials) &&
			slices.Equal(a.Providers, b.Providers) && slices.Equal(a.Actions, b.Actions)
	})
}
