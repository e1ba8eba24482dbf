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
	// Provider is the ID of its provider; empty if the credential does not exist.
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
	// Compared is how many patterns and providers were compared with the caller and the object.
	// For a denial it does not depend on the object.
	Compared int
}

// Grants are those of a policy that name one caller and one action.
type Grants struct {
	open     bool
	own      []*Grant
	compared int
}

// AllowsAll reports whether everybody may do everything.
func (p *Policy) AllowsAll() bool { return p.open }

// DeniesAll reports whether nobody may do anything.
func (p *Policy) DeniesAll() bool { return !p.open && len(p.grants) == 0 }

// Decide reports whether the caller of this name may do something. A caller without a name
// may do nothing, unless the policy is that of AllowAll.
func (p *Policy) Decide(caller string, action Action, object Object) Decision {
	return p.Of(caller, action).Decide(object)
}

// Of returns the grants that name the caller and the action. It looks at no object, so it takes
// the same time whatever the caller asks for.
func (p *Policy) Of(caller string, action Action) Grants {
	all := Grants{open: p.open}
	if p.open {
		return all
	}
	for i := range p.grants {
		g := &p.grants[i]
		if !slices.Contains(g.Actions, action) {
			continue
		}
		if g.namesCaller(caller, &all.compared) {
			all.own = append(all.own, g)
		}
	}
	return all
}

// Empty reports whether the grants allow nothing at all.
func (g Grants) Empty() bool { return !g.open && len(g.own) == 0 }

// NameProviders reports whether a decision needs to know the provider of a credential.
func (g Grants) NameProviders() bool {
	return slices.ContainsFunc(g.own, func(own *Grant) bool { return len(own.Providers) > 0 })
}

// Decide reports whether the grants allow their action on an object.
func (g Grants) Decide(object Object) Decision {
	made := Decision{Allowed: g.open, Compared: g.compared}
	for _, own := range g.own {
		if own.namesCredential(object, &made.Compared) {
			made.Allowed, made.Grant = true, own
			break
		}
	}
	return made
}

func (g *Grant) namesCaller(caller string, compared *int) bool {
	return caller != "" && matchesAny(g.Callers, caller, compared)
}

// namesCredential compares providers for missing credentials too, so that they take the same time.
func (g *Grant) namesCredential(object Object, compared *int) bool {
	if matchesAny(g.Credentials, object.CredentialID, compared) {
		return true
	}
	named := false
	for _, provider := range g.Providers {
		*compared++
		named = named || provider == object.Provider
	}
	return named && object.Provider != ""
}

// matchesAny reports whether one of the patterns matches, and counts those that it compared.
func matchesAny(patterns []Pattern, text string, compared *int) bool {
	for _, pattern := range patterns {
		*compared++
		if pattern.Matches(text) {
			return true
		}
	}
	return false
}

// Equal reports whether both decide alike, as far as their grants are the same in the same
// order.
func (p *Policy) Equal(other *Policy) bool {
	return p.open == other.open && slices.EqualFunc(p.grants, other.grants, func(a, b Grant) bool {
		return slices.Equal(a.Callers, b.Callers) && slices.Equal(a.Credentials, b.Credentials) &&
			slices.Equal(a.Providers, b.Providers) && slices.Equal(a.Actions, b.Actions)
	})
}
