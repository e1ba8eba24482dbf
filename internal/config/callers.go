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
// section would make right, or was right before something was revoked, is a warning.
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
		if strings.Trim(name, "0123456789*") != "" || len(name) > 1 && name[0] == '0' {
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

// checkKnown warns of an exact name that nothing in a section has. It is no problem: who
// takes a token or an issuer out has to have it refused, whatever grants still name it.
func checkKnown(caller strictyaml.Value, name, what, section string, known []string) {
	if access.Pattern(name).Exact() && !slices.Contains(known, name) {
		names := slices.Clone(known)
		slices.Sort(names)
		caller.Warnf("there is no %s of this name in %s%s", what, section, among(name, slices.Compact(names)))
	}
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
