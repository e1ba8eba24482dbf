package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// callerKinds are what names of callers begin with, but for `local`.
var callerKinds = []string{"spiffe://", "dns:", "subject:", "jwt:", "uid:", "token:"}

// callerForms are the forms of callers' names.
const callerForms = "spiffe://DOMAIN/PATH, dns:NAME, subject:NAME, jwt:ISSUER:SUBJECT, uid:NUMBER, token:NAME or local; in a grant * stands for any characters"

// callers are the names that a configuration can give to callers.
type callers struct {
	issuers, tokens []string
	certificates    bool // clients can have some
	users           bool // of the system, at a Unix socket
	toldApart       bool // whether callers have to prove who they are
}

func callersOf(c *Config) callers {
	known := callers{
		certificates: c.Listen.TLS != nil && c.Listen.TLS.ClientCAs != nil,
		users:        c.Authentication.PeerUser && c.Listen.GRPC.Network == "unix",
	}
	known.toldApart = c.Authentication.Demanded || known.certificates
	for _, issuer := range c.Authentication.Issuers {
		known.issuers = append(known.issuers, issuer.Name)
	}
	for _, token := range c.Authentication.Tokens {
		known.tokens = append(known.tokens, token.Name)
	}
	return known
}

// CheckCaller returns why no caller can have a name: a problem when the name has none of the
// forms of callers' names, a warning when the configuration admits no caller of this name. Both
// are empty when there can be such a caller.
func (c *Config) CheckCaller(name string) (problem, warning string) {
	return callersOf(c).check(name)
}

// report reports a pattern that no caller's name can match. A pattern that another address or
// section would make right, or that was right before something was revoked, is a warning.
func (c callers) report(caller strictyaml.Value) {
	problem, warning := c.check(caller.Text())
	if problem != "" {
		caller.Problemf("%s", problem)
	}
	if warning != "" {
		caller.Warnf("%s", warning)
	}
}

// check returns why no caller's name can match a pattern, as CheckCaller does for a name.
func (c callers) check(pattern string) (problem, warning string) {
	switch {
	case pattern == "" || strings.HasPrefix(pattern, "*"):
		return "", ""
	case pattern == "local" && c.toldApart:
		return "", "nobody is local: callers have to prove who they are"
	case pattern == "local":
		return "", ""
	}
	at := slices.IndexFunc(callerKinds, func(kind string) bool { return strings.HasPrefix(pattern, kind) })
	if at < 0 {
		return c.withoutKind(pattern), ""
	}
	kind, rest := callerKinds[at], pattern[len(callerKinds[at]):]
	if rest == "" {
		return fmt.Sprintf("names no caller: something follows %s, or *", kind), ""
	}
	return c.checkName(kind, rest)
}

// withoutKind is what is wrong with a name that begins with no kind of caller. It quotes only
// the name of a known token: somebody may have put a secret there.
func (c callers) withoutKind(name string) string {
	if slices.Contains(c.tokens, name) {
		return fmt.Sprintf("the name lacks the kind of caller; did you mean %q?", "token:"+name)
	}
	return "this is no caller's name: a name has the form " + callerForms
}

// checkName is check for what follows the kind of caller.
func (c callers) checkName(kind, name string) (problem, warning string) {
	switch kind {
	case "jwt:":
		issuer, _, whole := strings.Cut(name, ":")
		if !whole && access.Pattern(name).Exact() {
			return "names no caller: jwt:ISSUER:SUBJECT has the issuer's name and the subject", ""
		}
		return "", checkKnown(issuer, "issuer", "authentication.jwt", c.issuers)
	case "token:":
		return "", checkKnown(name, "token", "authentication.tokens", c.tokens)
	case "uid:":
		if strings.Trim(name, "0123456789*") != "" || len(name) > 1 && name[0] == '0' {
			return "a user is named by number: uid:1000", ""
		}
		if !c.users {
			return "", "nobody is named so: users count where listen.grpc is a Unix socket, and authentication.peer_user not false"
		}
	default:
		if !c.certificates {
			return "", "nobody is named so: there is no listen.tls.client_ca_file for client certificates"
		}
	}
	return "", ""
}

// checkKnown returns a warning of an exact name that nothing in a section has. It is no problem:
// a token or an issuer that is taken out has to be refused, whatever grants still name it.
func checkKnown(name, what, section string, known []string) (warning string) {
	if !access.Pattern(name).Exact() || slices.Contains(known, name) {
		return ""
	}
	names := slices.Clone(known)
	slices.Sort(names)
	return fmt.Sprintf("there is no %s of this name in %s%s", what, section, among(name, slices.Compact(names)))
}

// among says which of the known names was meant by one that is unknown, or which there are.
// It does not quote the unknown one: somebody may have put a secret there.
func among(name string, known []string) string {
	if meant, found := strictyaml.Nearest(name, known); found {
		return fmt.Sprintf("; did you mean %q?", meant)
	}
	if len(known) == 0 {
		return ": it has none"
	}
	return "; there are: " + strings.Join(known, ", ")
}
