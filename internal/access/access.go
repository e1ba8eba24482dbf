// Package access decides which callers may do what with which credentials. It does no I/O:
// a decision depends only on its arguments and on the policy.
package access

import (
	"slices"
	"time"
)

// Action is an operation on a credential that a grant allows.
type Action string

// The actions.
const (
	// Use is to get a credential's material, and to report that it was rejected.
	Use Action = "use"
	// Manage is to change a credential. No operation of the broker requires it yet.
	Manage Action = "manage"
)

// Caller is the authenticated identity of a caller.
type Caller struct {
	// Name is the identity, prefixed with its kind: `spiffe://DOMAIN/PATH`, `dns:NAME` or
	// `subject:NAME` of a client certificate, `jwt:ISSUER:SUBJECT` with the issuer's name
	// in the configuration, `uid:NUMBER` of a process on this machine, `token:NAME` of a
	// static token, and `local` where callers are not authenticated.
	Name string
	// Method is how the caller was authenticated: mutual_tls, jwt, peer_user, token or none.
	Method string
	// Address is the remote address of the call; empty: unknown.
	Address string
	// ExpireTime is when the identity expires; zero: not before the connection ends.
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
	// Callers match Caller.Name. At least one is required.
	Callers []Pattern
	// Credentials match the ID; Providers are IDs of providers. A grant applies to a
	// credential that matches either.
	Credentials []Pattern
	Providers   []string
	// Actions are allowed by the grant. At least one is required.
	Actions []Action
	// Source is the grant's position in the configuration, for messages to people.
	Source string
}

// Policy is the list of grants of a configuration. Anything not granted is denied: the zero
// value denies everything.
type Policy struct {
	grants []Grant
	open   bool
}

// NewPolicy returns a policy with these grants.
func NewPolicy(grants ...Grant) *Policy { return &Policy{grants: slices.Clone(grants)} }

// AllowAll returns a policy that allows every caller everything.
func AllowAll() *Policy { return &Policy{open: true} }

// AllowsAll reports whether the policy is that of AllowAll.
func (p *Policy) AllowsAll() bool { return p.open }

// DeniesAll reports whether the policy has no grants and denies everything.
func (p *Policy) DeniesAll() bool { return !p.open && len(p.grants) == 0 }

// NamesProviders reports whether a decision may depend on Object.Provider.
func (p *Policy) NamesProviders() bool {
	return slices.ContainsFunc(p.grants, func(g Grant) bool { return len(g.Providers) > 0 })
}

// Decision is the result of Policy.Decide.
type Decision struct {
	Allowed bool
	// Grant is the first that allows the action; nil: denied, or the policy is AllowAll.
	Grant *Grant
	// Compared is how many patterns and providers were compared with the caller and the
	// object. For a denial it does not depend on the object.
	Compared int
}

// Decide decides whether the caller with this name may perform an action on an object. A
// caller without a name is denied, unless the policy is AllowAll.
func (p *Policy) Decide(caller string, action Action, object Object) Decision {
	decision := Decision{Allowed: p.open}
	if p.open {
		return decision
	}
	for i := range p.grants {
		g := &p.grants[i]
		if slices.Contains(g.Actions, action) && g.namesCaller(caller, &decision.Compared) &&
			g.namesCredential(object, &decision.Compared) {
			decision.Allowed, decision.Grant = true, g
			break
		}
	}
	return decision
}

// Explanation is a decision together with the grants that nearly apply, for people.
type Explanation struct {
	Decision
	// ByCaller are the grants that match the caller. ByCredential are those that match the
	// credential or its provider. A grant in both lists lacks the action.
	ByCaller, ByCredential []Grant
}

// Explain decides like Decide and explains the decision.
func (p *Policy) Explain(caller string, action Action, object Object) Explanation {
	e := Explanation{Decision: p.Decide(caller, action, object)}
	for _, g := range p.grants {
		if g.namesCaller(caller, new(int)) {
			e.ByCaller = append(e.ByCaller, g)
		}
		if g.namesCredential(object, new(int)) {
			e.ByCredential = append(e.ByCredential, g)
		}
	}
	return e
}

func (g *Grant) namesCaller(caller string, compared *int) bool {
	return caller != "" && matchesAny(g.Callers, caller, compared)
}

// namesCredential compares all providers even if the credential does not exist, so that a
// denial takes the same time for existing and missing credentials.
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

// matchesAny reports whether one of the patterns matches, and adds to compared how many were
// tried.
func matchesAny(patterns []Pattern, text string, compared *int) bool {
	for _, pattern := range patterns {
		*compared++
		if pattern.Matches(text) {
			return true
		}
	}
	return false
}
