package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const callerForms = "spiffe://DOMAIN/PATH, dns:NAME, subject:NAME, jwt:ISSUER:SUBJECT, oidc:ISSUER:SUBJECT, group:ISSUER:GROUP, uid:NUMBER, token:NAME or local; in a grant * stands for any characters"

var callerKinds = []string{"spiffe://", "dns:", "subject:", "jwt:", "oidc:", access.GroupPrefix, "uid:", "token:"}

func (c *Config) acceptsCertificates() bool {
	return c.Listen.TLS != nil && c.Listen.TLS.ClientCAs != nil
}

func (c *Config) mustAuthenticate() bool { return c.Authentication.Demanded || c.acceptsCertificates() }

// CheckCaller checks the name of a caller, or a pattern for such names. CheckCaller returns a
// problem if no caller can ever have such a name, and a warning if the configuration cannot
// authenticate a caller with this name. The problem and the
// warning can be empty.
func (c *Config) CheckCaller(pattern string) (problem, warning string) {
	issuers := ids(c.Authentication.Issuers, func(i authentication.Issuer) string { return i.Name })
	tokens := ids(c.Authentication.Tokens, func(t authentication.StaticToken) string { return t.Name })
	people := c.Console.IssuerNames()
	isPrefix := func(kind string) bool { return strings.HasPrefix(pattern, kind) }
	at := slices.IndexFunc(callerKinds, isPrefix)
	switch {
	case pattern == "" || strings.HasPrefix(pattern, "*") || pattern == access.Local && !c.mustAuthenticate():
		return "", ""
	case pattern == access.Local:
		return "", "no caller has the name local: callers have to authenticate"
	case at < 0 && slices.Contains(tokens, pattern):
		return fmt.Sprintf("the name lacks the kind of caller; did you mean %q?", "token:"+pattern), ""
	case at < 0: // a user may have entered a secret here by mistake, so the message does not quote the name
		return "this is not a caller's name, which has one of these forms: " + callerForms, ""
	}
	kind, name := callerKinds[at], pattern[len(callerKinds[at]):]
	issuer, _, hasSubject := strings.Cut(name, ":")
	switch {
	case name == "":
		return fmt.Sprintf("names no caller: add a name or * after %s", kind), ""
	case (kind == "jwt:" || kind == "oidc:") && !hasSubject && access.Pattern(name).Exact():
		return fmt.Sprintf("names no caller: use %sISSUER:SUBJECT, with the issuer's name and the subject", kind), ""
	case kind == access.GroupPrefix && !hasSubject && access.Pattern(name).Exact():
		return "names no group: use group:ISSUER:GROUP, with the issuer's name and the group", ""
	case kind == "jwt:":
		return "", checkKnown(issuer, "issuer", "authentication.jwt", issuers)
	case kind == "oidc:":
		return "", checkKnown(issuer, "issuer", "console.oidc", people)
	case kind == access.GroupPrefix:
		return "", cmp.Or(checkKnown(issuer, "issuer", "authentication.jwt or console.oidc", slices.Concat(issuers, people)), c.checkGroups(issuer))
	case kind == "token:":
		return "", checkKnown(name, "token", "authentication.tokens", tokens)
	case kind == "uid:" && (strings.Trim(name, "0123456789*") != "" || len(name) > 1 && name[0] == '0'):
		return "a user is named by number: uid:1000", ""
	case kind == "uid:" && (!c.Authentication.PeerUser || !c.Listen.anySocket()):
		return "", "no caller has this name: users are accepted if listen.grpc or listen.http is a Unix socket, and authentication.peer_user is not false"
	case kind != "uid:" && !c.acceptsCertificates():
		return "", "no caller has this name: there is no listen.tls.client_ca_file for client certificates"
	}
	return "", ""
}

// checkGroups returns a warning if no issuer with this name puts callers into groups.
func (c *Config) checkGroups(issuer string) (warning string) {
	exact := access.Pattern(issuer).Exact()
	for _, known := range c.Authentication.Issuers {
		if known.GroupsClaim != "" && (!exact || known.Name == issuer) {
			return ""
		}
	}
	if c.Console != nil {
		for _, known := range c.Console.OpenID {
			if known.GroupsClaim != "" && (!exact || known.Name == issuer) {
				return ""
			}
		}
	}
	return "no caller has a group of this issuer: its item in the configuration has no groups_claim"
}

// checkKnown returns a warning if a section of the configuration has no item with this name. It
// is not an error, because a token or an issuer may be removed before the grants that name it.
func checkKnown(name, noun, section string, known []string) (warning string) {
	if !access.Pattern(name).Exact() || slices.Contains(known, name) {
		return ""
	}
	known = slices.Compact(slices.Sorted(slices.Values(known)))
	return fmt.Sprintf("there is no %s of this name in %s%s", noun, section, among(name, known))
}

// `among` completes an error about an unknown name: it suggests the most similar known name, or
// lists known names. The unknown name is not quoted, because a user may have entered a secret
// there by mistake.
func among(name string, known []string) string {
	if nearest, found := yamlfile.Nearest(name, known); found {
		return fmt.Sprintf("; did you mean %q?", nearest)
	}
	if len(known) == 0 {
		return ": the list is empty"
	}
	const most = 10
	if more := len(known) - most; more > 0 {
		return fmt.Sprintf("; there are: %s and %d more", strings.Join(known[:most], ", "), more)
	}
	return "; there are: " + strings.Join(known, ", ")
}
