package access

import (
	"strings"
	"time"
)

// Local is the name of callers that are not authenticated.
const Local = "local"

// GroupPrefix is the beginning of the names of groups.
const GroupPrefix = "group:"

// Caller is the identity of a caller.
type Caller struct {
	// Name is the name of the caller, which begins with a prefix for the kind of caller. For a
	// client certificate, the name is `spiffe://DOMAIN/PATH`, `dns:NAME` or `subject:NAME`. For a
	// JWT, the name is `jwt:ISSUER:SUBJECT`, where ISSUER is the issuer's name in the
	// configuration. For a process on the same machine, the name is `uid:NUMBER`. For a static
	// token, the name is `token:NAME`. For a person who has signed in by OpenID Connect, the name is
	// `oidc:ISSUER:SUBJECT`. If callers are not authenticated, the name is Local.
	Name string
	// Groups are the sorted names of the caller's groups, without duplicates. The name of a group
	// has the form `group:ISSUER:GROUP`, where ISSUER is the name of the token's issuer in the
	// configuration. Only callers with a JWT and signed-in persons have groups.
	Groups []string
	// Method is how the caller was authenticated: mutual_tls, jwt, peer_user, token, oidc or none.
	Method string
	// Address is the network address from which the call came. Address is empty if the address is
	// unknown.
	Address string
	// PrivateSocket is true if the call came over a Unix socket that only the broker's own user can
	// open.
	PrivateSocket bool
	// ExpireTime is when the identity expires. Zero means that the identity does not expire while
	// the connection is open.
	ExpireTime time.Time
}

// NamedCaller returns a caller for which Policy.Explain can explain a decision. If the name is the
// name of a group, the caller is a member of this group only; otherwise the caller is in no group.
func NamedCaller(name string) *Caller {
	if strings.HasPrefix(name, GroupPrefix) {
		return &Caller{Name: name, Groups: []string{name}}
	}
	return &Caller{Name: name}
}

// matches reports whether a pattern matches the caller. A pattern that begins with GroupPrefix is
// compared with the caller's groups, and every other pattern with the caller's name. No pattern
// matches a caller without a name.
func (c *Caller) matches(pattern Pattern, compared *int) bool {
	if c.Name == "" {
		return false
	}
	if !strings.HasPrefix(string(pattern), GroupPrefix) {
		*compared++
		return pattern.Matches(c.Name)
	}
	for _, group := range c.Groups {
		*compared++
		if pattern.Matches(group) {
			return true
		}
	}
	return false
}

// Matches reports whether one of the patterns matches the caller.
func (c *Caller) Matches(patterns []Pattern) bool { return c.matchesAny(patterns, new(int)) }

// matchesAny reports whether a pattern matches the caller, and adds the number of comparisons to
// the counter.
func (c *Caller) matchesAny(patterns []Pattern, compared *int) bool {
	for _, pattern := range patterns {
		if c.matches(pattern, compared) {
			return true
		}
	}
	return false
}

// isUnproven reports whether the caller was not authenticated and called over TCP. A caller that
// was not authenticated may be anybody, even a web page or another user of this machine.
func (c *Caller) isUnproven() bool { return c.Name == "" || c.Name == Local && !c.PrivateSocket }
