package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// callerForms are the forms of callers' names.
const callerForms = "spiffe://DOMAIN/PATH, dns:NAME, subject:NAME, jwt:ISSUER:SUBJECT, uid:NUMBER, token:NAME or local; " +
	"in a grant * stands for any characters"

// callerKinds are the prefixes of callers' names.
var callerKinds = []string{"spiffe://", "dns:", "subject:", "jwt:", "uid:", "token:"}

// callers are the callers that a configuration can authenticate.
type callers struct {
	authenticated   bool // callers have to authenticate
	certificates    bool // they can, by certificate
	users           bool // they can, as users of a Unix socket
	issuers, tokens []string
}

func knownCallers(c *Config) callers {
	known := callers{
		certificates: c.Listen.TLS != nil && c.Listen.TLS.ClientCAs != nil,
		users:        c.Authentication.PeerUser && c.Listen.GRPC.Network == "unix",
	}
	known.authenticated = c.Authentication.Demanded || known.certificates
	for _, issuer := range c.Authentication.Issuers {
		known.issuers = append(known.issuers, issuer.Name)
	}
	for _, token := range c.Authentication.Tokens {
		known.tokens = append(known.tokens, token.Name)
	}
	return known
}

// CheckCaller returns why no caller can have a name: a problem if the name has none of the
// forms of callers' names, a warning if the configuration authenticates no caller of this name.
// Both are empty if there can be such a caller.
func (c *Config) CheckCaller(name string) (problem, warning string) {
	return knownCallers(c).check(name)
}

// report reports a pattern that matches no caller's name. It is only a warning if another
// address or section would make the pattern right, or if it was right before a revocation.
func (c callers) report(value yamlfile.Value, pattern string) {
	problem, warning := c.check(pattern)
	if problem != "" {
		value.Problemf("%s", problem)
	}
	if warning != "" {
		value.Warnf("%s", warning)
	}
}

// check is CheckCaller for a pattern.
func (c callers) check(pattern string) (problem, warning string) {
	isPrefix := func(kind string) bool { return strings.HasPrefix(pattern, kind) }
	at := slices.IndexFunc(callerKinds, isPrefix)
	switch {
	case pattern == "" || strings.HasPrefix(pattern, "*") || pattern == "local" && !c.authenticated:
		return "", ""
	case pattern == "local":
		return "", "no caller is local: callers have to authenticate"
	case at < 0 && slices.Contains(c.tokens, pattern):
		return fmt.Sprintf("the name lacks the kind of caller; did you mean %q?", "token:"+pattern), ""
	case at < 0: // the name is not quoted, as it may be a secret in the wrong place
		return "this is not a caller's name: a name has the form " + callerForms, ""
	}
	kind, name := callerKinds[at], pattern[len(callerKinds[at]):]
	issuer, _, hasSubject := strings.Cut(name, ":")
	switch {
	case name == "":
		return fmt.Sprintf("names no caller: add a name or * after %s", kind), ""
	case kind == "jwt:" && !hasSubject && access.Pattern(name).Exact():
		return "names no caller: jwt:ISSUER:SUBJECT has the issuer's name and the subject", ""
	case kind == "jwt:":
		return "", checkKnown(issuer, "issuer", "authentication.jwt", c.issuers)
	case kind == "token:":
		return "", checkKnown(name, "token", "authentication.tokens", c.tokens)
	case kind == "uid:" && (strings.Trim(name, "0123456789*") != "" || len(name) > 1 && name[0] == '0'):
		return "a user is named by number: uid:1000", ""
	case kind == "uid:" && !c.users:
		return "", "no caller has this name: users are accepted if listen.grpc is a Unix socket, and authentication.peer_user is not false"
	case kind != "uid:" && !c.certificates:
		return "", "no caller has this name: there is no listen.tls.client_ca_file for client certificates"
	}
	return "", ""
}

// checkKnown returns a warning if an exact name is not in a section. It is not a problem: when
// a token or an issuer is removed, grants may still name it.
func checkKnown(name, noun, section string, known []string) (warning string) {
	if !access.Pattern(name).Exact() || slices.Contains(known, name) {
		return ""
	}
	known = slices.Compact(slices.Sorted(slices.Values(known)))
	return fmt.Sprintf("there is no %s of this name in %s%s", noun, section, among(name, known))
}

// among names the known name that is most similar to an unknown one, or all known names. It
// does not quote the unknown one, which may be a secret in the wrong place.
func among(name string, known []string) string {
	if nearest, found := yamlfile.Nearest(name, known); found {
		return fmt.Sprintf("; did you mean %q?", nearest)
	}
	if len(known) == 0 {
		return ": it has none"
	}
	return "; there are: " + strings.Join(known, ", ")
}
