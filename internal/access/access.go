// Package access decides which callers may perform which actions on which credentials. The package
// does no I/O: each decision depends only on the arguments and the policy.
package access

import (
	"slices"
	"time"
)

// Action is an operation on a credential that a grant allows.
type Action string

// These are the actions that a grant can allow.
const (
	// Use allows callers to get a credential's material, and to report that a provider rejected the
	// material.
	Use Action = "use"
	// Manage allows callers to change a credential. No operation of the broker requires Manage yet.
	Manage Action = "manage"
)

// Caller is the authenticated identity of a caller.
type Caller struct {
	// Name is the caller's identity, with a prefix for its kind. The name is
	// `spiffe://DOMAIN/PATH`, `dns:NAME` or `subject:NAME` for a client certificate,
	// `jwt:ISSUER:SUBJECT` for a JWT, where ISSUER is the issuer's name in the configuration,
	// `uid:NUMBER` for a process on the same machine, `token:NAME` for a static token, and `local`
	// if callers are not authenticated.
	Name string
	// Method is how the caller was authenticated: mutual_tls, jwt, peer_user, token or none.
	Method string
	// Address is the network address from which the call came; empty if unknown.
	Address string
	// ExpireTime is when the identity expires. Zero means that the identity does not expire while
	// the connection is open.
	ExpireTime time.Time
}

// Object is the credential that an access decision is about.
type Object struct {
	CredentialID string
	// Provider is the ID of the credential's provider; empty if the credential does not exist.
	Provider string
}

// Grant allows some callers to perform some actions on some credentials.
type Grant struct {
	// Callers are patterns for the names of callers. At least one pattern is required.
	Callers []Pattern
	// Credentials are patterns for credential IDs, and Providers are IDs of providers. A grant
	// applies to a credential if a pattern matches its ID, or if its provider is listed.
	Credentials []Pattern
	Providers   []string
	// Actions are the actions that the grant allows. At least one action is required.
	Actions []Action
	// Source is the position of the grant in the configuration, for messages to people.
	Source string
}

// Policy is a list of grants. Everything that no grant allows is denied, so the zero value denies
// everything.
type Policy struct {
	grants []Grant
	open   bool
}

// NewPolicy returns a policy with these grants.
func NewPolicy(grants ...Grant) *Policy { return &Policy{grants: slices.Clone(grants)} }

// AllowAll returns a policy that allows every caller to perform every action.
func AllowAll() *Policy { return &Policy{open: true} }

// AllowsAll reports whether AllowAll made the policy.
func (p *Policy) AllowsAll() bool { return p.open }

// DeniesAll reports whether the policy has no grants and denies everything.
func (p *Policy) DeniesAll() bool { return !p.open && len(p.grants) == 0 }

// NamesProviders reports whether decisions may depend on the provider of a credential.
func (p *Policy) NamesProviders() bool {
	return slices.ContainsFunc(p.grants, func(g Grant) bool { return len(g.Providers) > 0 })
}

// Decision is the result of Policy.Decide.
type Decision struct {
	Allowed bool
	// Grant is the first grant that allows the action, or nil if access is denied, or if AllowAll
	// made the policy.
	Grant *Grant
	// Compared is the number of patterns and provider IDs that were compared with the caller and
	// the object. If access is denied, Compared does not depend on the object.
	Compared int
}

// Decide decides whether the named caller may perform an action on an object. A caller without a
// name is denied, unless the policy allows everything.
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

// Explanation explains a decision to people.
type Explanation struct {
	Decision
	// ByCaller lists the grants that match the caller, and ByCredential lists the grants that match
	// the credential or its provider. If access is denied, a grant in both lists does not allow the
	// action.
	ByCaller, ByCredential []Grant
}

// Explain makes the same decision as Decide, and explains it.
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

// namesCredential reports whether a grant applies to a credential. All provider IDs of the grant
// are compared even if the credential does not exist, so that a denial takes the same time for
// existing and missing credentials.
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

// matchesAny reports whether a pattern matches the text, and adds the number of compared patterns
// to the counter.
func matchesAny(patterns []Pattern, text string, compared *int) bool {
	for _, pattern := range patterns {
		*compared++
		if pattern.Matches(text) {
			return true
		}
	}
	return false
}
