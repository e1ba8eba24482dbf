package config_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
)

// accounts is the section `credentials` of a configuration file. The section has 5 lines, and
// the credential `off` in it is disabled.
const accounts = `credentials:
- {id: mail, provider: sendpulse, auth_method: api_key, values: {api_key: {value: k}}}
- {id: board, provider: pendo, auth_method: api_key, values: {api_key: {value: k}}}
- {id: off, disabled: true, provider: pendo, auth_method: api_key, values: {api_key: {value: k}}}

`

const proofs = `authentication:
  jwt: [{name: ci, issuer: i, audiences: [b], jwks_url: "https://a"}]
  tokens:
  - {name: a, sha256: "0000000000000000000000000000000000000000000000000000000000000000"}
  - {name: mailer, sha256: "0000000000000000000000000000000000000000000000000000000000000001"}
`

// inGroups is the configuration `proofs` with the setting groups_claim for its issuer.
var inGroups = strings.Replace(proofs, "issuer: i,", "issuer: i, groups_claim: roles,", 1)

func parseGrants(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	return config.Parse(filepath.Join(tlsFolder(t), "b.yaml"), []byte(accounts+text), config.Options{LookupEnv: environment})
}

func TestGrants(t *testing.T) {
	got, err := parseGrants(t, `grants:
- {callers: ["spiffe://prod/*", "dns:a", "subject:CN=a", "jwt:ci:*"], credentials: [mail, "b*"]}
- callers: ["uid:10*", "token:a", local, "*:root"]
  providers: [pendo]
  actions: [use, manage]
- {callers: ["*"], credentials: ["off", "none-*"], actions: [manage]}
- {callers: ["group:ci:*"], credentials: [mail], actions: [view]}
- {callers: ["group:ci:*"], actions: [operate]}
`+inGroups)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		caller string
		action access.Action
		object access.Object
		line   string // the line of the grant that allows the action; empty if the action is denied
	}{
		{"spiffe://prod/a", access.Use, access.Object{CredentialID: "mail", Provider: "sendpulse"}, "7"},
		{"jwt:ci:x", access.Use, access.Object{CredentialID: "board", Provider: "pendo"}, "7"},
		{"jwt:ci:x", access.Manage, access.Object{CredentialID: "board", Provider: "pendo"}, ""},
		{"uid:1000", access.Use, access.Object{CredentialID: "off", Provider: "pendo"}, "8"},
		{"token:a", access.Manage, access.Object{CredentialID: "board", Provider: "pendo"}, "8"},
		{"token:a", access.View, access.Object{CredentialID: "board", Provider: "pendo"}, "8"},
		{"group:ci:admins", access.View, access.Object{CredentialID: "mail", Provider: "sendpulse"}, "12"},
		{"group:ci:admins", access.Use, access.Object{CredentialID: "mail", Provider: "sendpulse"}, ""},
		{"group:ci:admins", access.Operate, access.Object{}, "13"},
		{"local", access.Manage, access.Object{CredentialID: "board", Provider: "pendo"}, ""},
		{"local", access.Use, access.Object{CredentialID: "mail", Provider: "sendpulse"}, ""},
		{"dns:b", access.Manage, access.Object{CredentialID: "off", Provider: "pendo"}, "11"},
		{"dns:b", access.Use, access.Object{CredentialID: "off", Provider: "pendo"}, ""},
	} {
		decision := got.Policy.Decide(access.NamedCaller(test.caller), test.action, test.object)
		source := ""
		if decision.Grant != nil {
			source = decision.Grant.Source
		}
		if decision.Allowed != (test.line != "") || test.line != "" && !strings.HasSuffix(source, "/b.yaml:"+test.line) {
			t.Errorf("caller %s, action %s, credential %q: allowed is %v by the grant %q, want the grant in line %q", test.caller, test.action, test.object.CredentialID, decision.Allowed, source, test.line)
		}
	}
}

// TestPolicyByDefault checks that a file without grants allows everything if callers need not
// authenticate, and nothing otherwise.
func TestPolicyByDefault(t *testing.T) {
	const mutual = "listen: {tls: {certificate_file: a.pem, key_file: a.key, client_ca_file: a.pem}}\n"
	for text, open := range map[string]bool{
		"":                                  true,
		"grants: []\n":                      false,
		"authentication: {}\n":              false,
		"authentication: {peer_user: true}": false,
		mutual:                              false,
		mutual + "grants: []\n":             false,
		strings.Replace(mutual, ", client_ca_file: a.pem", "", 1): true,
	} {
		got, err := parseGrants(t, text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		allowed := got.Policy.Decide(access.NamedCaller("uid:1"), access.Use, access.Object{CredentialID: "mail", Provider: "sendpulse"}).Allowed
		if allowed != open || got.Policy.DeniesAll() == open {
			t.Errorf("%q: everything is allowed: %v, want %v", text, allowed, open)
		}
	}
}

func TestGrantMistakes(t *testing.T) {
	const kinds = "this is not a caller's name, which has one of these forms: spiffe://DOMAIN/PATH, dns:NAME, subject:NAME, jwt:ISSUER:SUBJECT, oidc:ISSUER:SUBJECT, group:ISSUER:GROUP, uid:NUMBER, token:NAME or local; in a grant * stands for any characters"
	for grant, want := range map[string]string{
		`{callers: ["*"]}`:                                      "7:3: the grant is for no credential: add 'credentials', a list of IDs or patterns with *, or add 'providers'",
		`{credentials: [mail]}`:                                 `7:3: the key "callers" is missing`,
		`{callers: [""], credentials: [mail]}`:                  "7:14: ",
		`{callers: [web], credentials: [mail]}`:                 "7:14: " + kinds,
		`{callers: ["spiffe:/a"], credentials: [mail]}`:         "7:14: " + kinds,
		`{callers: ["user:*"], credentials: [mail]}`:            "7:14: " + kinds,
		`{callers: [localhost], credentials: [mail]}`:           "7:14: " + kinds,
		`{callers: ["dns:"], credentials: [mail]}`:              "7:14: names no caller: add a name or * after dns:",
		`{callers: ["uid:root"], credentials: [mail]}`:          "7:14: a user is named by number: uid:1000",
		`{callers: ["uid:01"], credentials: [mail]}`:            "7:14: a user is named by number: uid:1000",
		`{callers: ["jwt:ci"], credentials: [mail]}`:            "7:14: names no caller: use jwt:ISSUER:SUBJECT, with the issuer's name and the subject",
		`{callers: ["group:ci"], credentials: [mail]}`:          "7:14: names no group: use group:ISSUER:GROUP, with the issuer's name and the group",
		`{callers: ["*"], actions: [operate, view]}`:            "7:3: the grant is for no credential: add 'credentials', a list of IDs or patterns with *, or add 'providers'",
		`{callers: ["*"], credentials: [mail, ""]}`:             "7:40: ",
		`{callers: ["*"], providers: []}`:                       "7:31: ",
		`{callers: ["*"], providers: [pendo], actions: []}`:     "7:49: ",
		`{callers: ["*"], providers: [pendo], actions: [read]}`: `7:50: must be one of "use", "view", "manage", "operate"`,
		`{callers: ["*"], providers: [pendo], action: [use]}`:   `7:40: unknown key; did you mean "actions"?`,
		`a`:                                  "7:3: ",
		`{callers: "*", providers: [pendo]}`: "7:13: ",
	} {
		_, err := parseGrants(t, "grants: [\n  "+grant+"]\n"+proofs)
		if err == nil || !strings.Contains(err.Error(), "b.yaml:"+want) {
			t.Errorf("%s: the problems are\n%v\nwant\n%s", grant, err, want)
		} else if lines := strings.Count(err.Error(), "b.yaml:"); lines != 1 {
			t.Errorf("%s: there are %d problems:\n%v", grant, lines, err)
		}
	}
}

// TestGrantsOfNobody checks that a grant causes a warning if no caller can have the name in the
// grant.
func TestGrantsOfNobody(t *testing.T) {
	const (
		tls    = "listen: {tls: {certificate_file: a.pem, key_file: a.key, client_ca_file: a.pem}}\n"
		socket = "listen: {grpc: \"unix:///run/broker.sock\"}\n"
		users  = "no caller has this name: users are accepted if listen.grpc or listen.http is a Unix socket, and authentication.peer_user is not false"
		holder = "no caller has this name: there is no listen.tls.client_ca_file for client certificates"
		local  = "no caller has the name local: callers have to authenticate"
		groups = "no caller has a group of this issuer: its item in the configuration has no groups_claim"
	)
	for _, test := range []struct{ caller, more, warning string }{
		{caller: "*"}, {caller: "*:root"}, {caller: "jwt:c*"}, {caller: "jwt:*:x"}, {caller: "token:m*"}, {caller: "local"},
		{caller: "jwt:ci:*", more: proofs},
		{caller: "jwt:ci*", more: proofs},
		{caller: "token:mailer", more: proofs},
		{caller: "group:ci:a", more: proofs, warning: groups}, {caller: "group:*", more: proofs, warning: groups},
		{caller: "group:*:a", warning: groups},
		{caller: "group:ci:a", more: inGroups}, {caller: "group:*", more: inGroups}, {caller: "group:c*", more: inGroups},
		{caller: "group:ci:*", more: inGroups},
		{caller: "uid:1000", warning: users},
		{caller: "uid:*", more: "authentication: {peer_user: false}\n" + socket, warning: users},
		{caller: "uid:1000", more: tls, warning: users},
		{caller: "uid:1000", more: socket}, {caller: "uid:1000", more: strings.Replace(socket, "grpc", "http", 1)},
		{caller: "uid:1000", more: "authentication: {}\n" + socket},
		{caller: "spiffe://a/*", warning: holder}, {caller: "dns:a", warning: holder}, {caller: "subject:CN=a", more: proofs, warning: holder},
		{caller: "spiffe://a/*", more: tls}, {caller: "dns:a", more: tls}, {caller: "subject:CN=a", more: tls},
		{caller: "local", more: tls, warning: local},
		{caller: "local", more: "authentication: {}\n", warning: local},
	} {
		got, err := parseGrants(t, "grants: [{callers: [\""+test.caller+"\"], credentials: [mail]}]\n"+test.more)
		if err != nil {
			t.Errorf("%s, %s: %v", test.caller, test.more, err)
			continue
		}
		warnings := got.Warnings.Error()
		if (warnings != "") != (test.warning != "") || !strings.HasSuffix(warnings, test.warning) || warnings != "" && !strings.Contains(warnings, "b.yaml:6:21: ") {
			t.Errorf("%s, %s: the warnings are %q, want %q", test.caller, test.more, warnings, test.warning)
		}
	}
}

// TestGrantsOfUnknownThings checks that a grant with an unknown credential or token causes only a
// warning, because a credential or token may be removed before its grants.
func TestGrantsOfUnknownThings(t *testing.T) {
	const unproven = "callers without authentication can manage credentials only over a Unix socket with the socket_mode 0600"
	var ids []string
	for _, provider := range catalog.Builtin().Providers() {
		ids = append(ids, provider.ID)
	}
	some := fmt.Sprintf("%s and %d more", strings.Join(ids[:10], ", "), len(ids)-10)
	for _, test := range []struct{ grant, more, want string }{
		{`{callers: ["jwt:ci:*"], credentials: [mail]}`, "", "14: there is no issuer of this name in authentication.jwt: the list is empty"},
		{`{callers: ["jwt:ic:a"], credentials: [mail]}`, proofs, `14: there is no issuer of this name in authentication.jwt; did you mean "ci"?`},
		{`{callers: ["jwt:others:*"], credentials: [mail]}`, proofs, "14: there is no issuer of this name in authentication.jwt; there are: ci"},
		{`{callers: ["group:ic:a"], credentials: [mail]}`, inGroups, `14: there is no issuer of this name in authentication.jwt or console.oidc; did you mean "ci"?`},
		{`{callers: [local], providers: [pendo], actions: [manage]}`, "", "14: " + unproven},
		{`{callers: [local], providers: [pendo], actions: [manage]}`, "listen: {grpc: \"unix:///a\", socket_mode: \"0660\"}\n", "14: " + unproven},
		{`{callers: [local], credentials: [mial], actions: [manage]}`, "listen: {grpc: \"unix:///a\"}\n", "36: no credential has this ID; * stands for any characters"},
		{`{callers: ["token:a"], credentials: [mail]}`, "", "14: there is no token of this name in authentication.tokens: the list is empty"},
		{`{callers: ["token:mialer"], credentials: [mail]}`, proofs, `14: there is no token of this name in authentication.tokens; did you mean "mailer"?`},
		{`{callers: ["token:others"], credentials: [mail]}`, proofs, "14: there is no token of this name in authentication.tokens; there are: a, mailer"},
		{`{callers: ["*"], credentials: [mial]}`, "", "34: no credential has this ID; * stands for any characters"},
		{`{callers: ["*"], credentials: ["mial*"]}`, "", "34: no credential has an ID that matches this pattern"},
		{`{callers: ["*"], credentials: ["m*", "*d", "*a*", "o*f", mail, "*", "*z"]}`, "", "71: no credential has an ID that matches this pattern"},
		{`{callers: ["*"], providers: [sendpluse]}`, "", `32: no provider has this ID; did you mean "sendpulse"?`},
		{`{callers: ["*"], providers: ["*"]}`, "", "32: no provider has this ID; there are: " + some},
		{`{callers: [], credentials: [mail]}`, "", "13: the grant has no effect: it has no callers"},
		{`{callers: ["*"], credentials: []}`, "", "33: the grant has no effect: it has no credentials"},
	} {
		got, err := parseGrants(t, "grants: [\n  "+test.grant+"]\n"+test.more)
		if err != nil {
			t.Errorf("%s: %v", test.grant, err)
			continue
		}
		if len(got.Warnings) != 1 || !strings.HasSuffix(got.Warnings.Error(), "/b.yaml:7:"+test.want) {
			t.Errorf("%s: the warnings are\n%v\nwant\n%s", test.grant, got.Warnings, test.want)
		}
	}
}
