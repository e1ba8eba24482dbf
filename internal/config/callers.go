package config

import (
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// callerKinds are what names of callers begin with, but for `local`.
var callerKinds = []string{"spiffe://", "dns:", "subject:", "jwt:", "uid:", "token:"}

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

// check reports a pattern that no caller's name can match. What another address or
// section would make right is a warning.
func (c callers) check(caller strictyaml.Value) {
	text := caller.Text()
	switch {
	case text == "" || strings.HasPrefix(text, "*"):
		return
	case text == "local":
		if c.toldApart {
			caller.Warnf("nobody is local: callers have to prove who they are")
		}
		return
	}
	at := slices.IndexFunc(callerKinds, func(kind string) bool { return strings.HasPrefix(text, kind) })
	if at < 0 {
		caller.Problemf("a caller begins with one of %s, or is local; * stands for any characters", strings.Join(callerKinds, ", "))
		return
	}
	kind, rest := callerKinds[at], text[len(callerKinds[at]):]
	if rest == "" {
		caller.Problemf("names no caller: something follows %s, or *", kind)
		return
	}
	c.checkName(caller, kind, rest)
}

// checkName is check for what follows the kind of caller.
func (c callers) checkName(caller strictyaml.Value, kind, name string) {
	switch kind {
	case "jwt:":
		issuer, _, whole := strings.Cut(name, ":")
		if !whole && access.Pattern(name).Exact() {
			caller.Problemf("names no caller: jwt:ISSUER:SUBJECT has the issuer's name and the subject")
			return
		}
		checkKnown(caller, issuer, "issuer", "authentication.jwt", c.issuers)
	case "token:":
		checkKnown(caller, name, "token", "authentication.tokens", c.tokens)
	case "uid:":
		if strings.Trim(name, "0123456789*") != "" {
			caller.Problemf("a user is named by number: uid:1000")
		} else if !c.users {
			caller.Warnf("nobody is named so: users count where listen.grpc is a Unix socket, and authentication.peer_user not false")
		}
	default:
		if !c.certificates {
			caller.Warnf("nobody is named so: there is no listen.tls.client_ca_file for client certificates")
		}
	}
}

// checkKnown reports an exact name that nothing in a section has.
func checkKnown(caller strictyaml.Value, name, what, section string, known []string) {
	if !access.Pattern(name).Exact() || slices.Contains(known, name) {
		return
	}
	meant, found := strictyaml.Nearest(name, known)
	switch {
	case found:
		caller.Problemf("there is no %s of this name in %s; did you mean %q?", what, section, meant)
	case len(known) == 0:
		caller.Problemf("there is no %s of this name: %s has none", what, section)
	default:
		names := slices.Clone(known)
		slices.Sort(names)
		caller.Problemf("there is no %s of this name in %s; there are: %s", what, section, strings.Join(slices.Compact(names), ", "))
	}
}
