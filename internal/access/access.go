// Package access decides which callers may do what with which credentials. It does no I/O:
// a decision depends only on its arguments and on the policy.
package access

import (
	"slices"
	"time"
)

// Action is an operation on a credential that a grant allows.
type Action string

// The actions that a grant can allow.
const (
	// Use allows a caller to get a credential's material, and to report that a provider rejected
	// the material.
	Use Action = "use"
	// Manage allows a caller to change a credential. No operation of the broker requires it yet.
	Manage Action = "manage"
)

// Caller is the authenticated identity of a caller.
type Caller struct {
	// Name is the identity, prefixed with its kind. For a client certificate it is
	// `spiffe://DOMAIN/PATH`, `dns:NAME` or `subject:NAME`. For a JWT it is
	// `jwt:ISSUER:SUBJECT`, with the issuer's name in the configuration. For a process on this
	// machine it is `uid:NUMBER`, and for a static token `token:NAME`. Name is `local` where
	// callers are not authenticated.
	Name string
	// Method is how the caller was authenticated: mutual_tls, jwt, peer_user, token or none.
	Method string
	// Address is the remote address of the call; empty: unknown.
	Address string
	// ExpireTime is when the identity expires; zero: not before the connection ends.
	ExpireTime time.Time
}

// Object is the credential in an access decision.
type Object struct {
	CredentialID string
	// Provider is the ID of the credential's provider; empty if the credential does not exist.
	Provider string
}

// Grant allows some callers to perform some actions on some credentials.
type Grant struct {
	// Callers are patterns for Caller.Name. At least one is required.
	Callers []Pattern
	// Credentials are patterns for credential IDs, and Providers are IDs of providers. A grant
	// applies to a credential if its ID matches a pattern, or if its provider is listed.
	Credentials []Pattern
	Providers   []string
	// Actions are the actions that the grant allows. At least one is required.
	Actions []Action
	// Source is the grant's position in the configuration, for messages to people.
	Source string
}

// Policy is the list of grants in a configuration. Anything not granted is denied, so the zero
// value denies everything.
type Policy struct {
	grants []Grant
	open   bool
}

// NewPolicy returns a policy with these grants.
func NewPolicy(grants ...Grant) *Policy { return &Policy{grants: slices.Clone(grants)} }

// AllowAll returns a policy that allows every caller to perform every action.
func AllowAll() *Policy { return &Policy{open: true} }

// AllowsAll reports whether the policy was made by AllowAll.
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
	// Grant is the first grant that allows the action. It is nil if access is denied, or if the
	// policy is AllowAll.
	Grant *Grant
	// Compared is the number of patterns and providers that were compared with the caller and
	// the object. For a denial, this number does not depend on the object.
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

// Explanation explains a decision to people. It also lists the grants that nearly apply.
type Explanation struct {
	Decision
	// ByCaller lists the grants that match the caller. ByCredential lists the grants that match
	// the credential or its provider. A grant in both lists does not allow the action.
	ByCaller, ByCredential []Grant
}

// Explain makes the same decision as Decide, and explains the decision.
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

// matchesAny reports whether one of the patterns matches, and adds the number of patterns tried
// to compared.
func matchesAny(patterns []Pattern, text string, compared *int) bool {
	for _, pattern := range patterns {
		*compared++
		if pattern.Matches(text) {
			return true
		}
	}
	return false
}
