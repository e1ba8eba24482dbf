package config_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/config"
)

// parseConsole parses a file whose section console begins in line 1, column 10. More sections follow.
func parseConsole(t *testing.T, section, more string) (*config.Config, error) {
	t.Helper()
	folder, _ := listenFolder(t)
	return config.Parse(filepath.Join(folder, "b.yaml"), []byte("console: "+section+"\n"+more), config.Options{LookupEnv: environment})
}

const withTLS = "listen: {tls: {" + withCertificate + "}}\n"

func TestNoConsole(t *testing.T) {
	got, err := parse(t, "credentials: []\n")
	if err != nil || got.Console != nil || got.Console.IssuerNames() != nil {
		t.Errorf("the console is %+v (%v), want none", got.Console, err)
	}
}

// TestConsole checks the defaults and all keys.
func TestConsole(t *testing.T) {
	got, err := parseConsole(t, "{}", "")
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Console; c.Address.Address != "127.0.0.1:8081" || c.Address.Remote || c.URL != "" || c.OpenID != nil {
		t.Errorf("with the defaults, the console is %+v", c)
	}
	got, err = parseConsole(t, `{address: ":8443", url: "https://Broker.Example:8443/", oidc: [
{name: corp, issuer: "https://id.example/a", client_id: broker, client_secret: {env: SET}, scopes: [groups, email], groups_claim: roles, ca_file: ca.pem, allow_private_addresses: true},
{name: public, issuer: "https://id.test", client_id: b}]}`, withTLS)
	if err != nil {
		t.Fatal(err)
	}
	c := got.Console
	if !c.Address.Remote || c.URL != "https://broker.example:8443" || !slices.Equal(c.IssuerNames(), []string{"corp", "public"}) {
		t.Errorf("the console is %+v", c)
	}
	if i := c.OpenID[0]; i.Issuer != "https://id.example/a" || i.ClientID != "broker" || i.ClientSecret.Reveal() != canary ||
		!slices.Equal(i.Scopes, []string{"groups", "email"}) || i.GroupsClaim != "roles" || i.RootCAs == nil || !i.AllowPrivate {
		t.Errorf("the first issuer is %+v", i)
	}
	if i := c.OpenID[1]; i.ClientSecret.Reveal() != "" || i.Scopes != nil || i.GroupsClaim != "" || i.RootCAs != nil || i.AllowPrivate {
		t.Errorf("with the defaults, an issuer is %+v", i)
	}
}

// TestConsoleURL checks that the URL is the one that browsers send in the header Host.
func TestConsoleURL(t *testing.T) {
	for given, want := range map[string]string{
		"https://a.example": "https://a.example", "https://a.example/": "https://a.example", "https://A.example:443": "https://a.example",
		"http://localhost:80": "http://localhost", "http://127.0.0.1:443": "http://127.0.0.1:443", "https://[::1]:8443": "https://[::1]:8443",
	} {
		got, err := parseConsole(t, `{url: "`+given+`"}`, "")
		if err != nil {
			t.Errorf("%s: %v", given, err)
			continue
		}
		if got.Console.URL != want {
			t.Errorf("%s is read as %s, want %s", given, got.Console.URL, want)
		}
	}
}

func TestConsoleProblems(t *testing.T) {
	const (
		badURL   = "must be https://HOST[:PORT] without a path; a console that only this machine can reach may use http://"
		needsURL = "needs url, the address that people type, such as https://broker.example.com"
		needsTLS = "needs listen.tls, because other machines can reach the address: without TLS, secrets that people type could be read on the network"
	)
	issuer := func(more string) string {
		return `{url: "https://a.example", oidc: [{name: corp, issuer: "https://id.test", client_id: b` + more + "}]}"
	}
	for section, want := range map[string][]string{
		"[]":                         {"1:10: must be a mapping"},
		"":                           {"1:9: must be a mapping, and is empty: write console: {}"},
		"{adress: x}":                {`1:11: unknown key; did you mean "address"?`},
		`{address: "unix:///a"}`:     {"1:20: must be HOST:PORT, because browsers cannot open a Unix socket"},
		`{address: "8081"}`:          {"1:20: must be an address with a port, such as 127.0.0.1:8081"},
		`{address: ":8081"}`:         {"1:10: " + needsURL, "1:20: " + needsTLS},
		`{url: "ftp://a"}`:           {"1:16: " + badURL},
		`{url: "https://a/b"}`:       {"1:16: " + badURL},
		`{url: "https://a?b"}`:       {"1:16: " + badURL},
		`{url: "https://a#b"}`:       {"1:16: " + badURL},
		`{url: "https://u@a"}`:       {"1:16: " + badURL},
		`{url: "https://:8443"}`:     {"1:16: " + badURL},
		`{url: "a.example"}`:         {"1:16: " + badURL},
		`{oidc: [{}]}`:               {`1:18: the key "name" is missing`, `1:18: the key "issuer" is missing`, `1:18: the key "client_id" is missing`, "1:10: " + needsURL},
		issuer(", client_secret: x"): {"1:113: must be exactly one of {env: NAME} and {file: PATH}"},
		issuer(", ca_file: none.pem"): {
			"1:107: the file does not exist",
		},
		`{url: "https://a.example", oidc: [{name: corp, issuer: "http://id.test", client_id: b}]}`:    {"1:65: must be an https:// URL without a query"},
		`{url: "https://a.example", oidc: [{name: corp, issuer: "https://id.test?a", client_id: b}]}`: {"1:65: must be an https:// URL without a query"},
		`{url: "https://a.example", oidc: [{name: Corp, issuer: "https://id.test", client_id: b}]}`:   {"1:51: must be 1 to 64 lower-case letters"},
		`{url: "https://a.example", oidc: [{name: x, issuer: "https://i", client_id: b}, {name: x, issuer: "https://i", client_id: b}]}`: {
			"1:97: duplicate name"},
	} {
		_, err := parseConsole(t, section, "")
		if err == nil {
			t.Errorf("%s: no problem, want %q", section, want)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		for _, problem := range want {
			if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, ":"+problem) }) {
				t.Errorf("%s: the problems are\n%v\nwant %s", section, err, problem)
			}
		}
		if len(lines) != len(want) {
			t.Errorf("%s: there are %d problems, want %d:\n%v", section, len(lines), len(want), err)
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the problems quote a secret", section)
		}
	}
	_, err := parseConsole(t, `{address: ":1", url: "http://a.example"}`, withTLS)
	if err == nil || !strings.HasSuffix(err.Error(), ":1:31: "+badURL) {
		t.Errorf("with http, a console that other machines can reach has the problem %v", err)
	}
	_, err = parseConsole(t, issuer(""), `authentication: {jwt: [{name: corp, issuer: i, audiences: [a], jwks_url: "https://k.test"}]}`)
	if err == nil || !strings.Contains(err.Error(), ":1:51: is the name of an issuer in authentication.jwt: use another name, because groups are named after their issuer") {
		t.Errorf("with the name of a JWT issuer, the problem is %v", err)
	}
}

// TestPeopleInGrants checks the problems and warnings of grants for people and their groups.
func TestPeopleInGrants(t *testing.T) {
	const section = `{url: "https://a.example", oidc: [{name: corp, issuer: "https://id.test", client_id: b, groups_claim: g}, {name: plain, issuer: "https://id.test", client_id: b}]}`
	loaded, err := parseConsole(t, section, "")
	if err != nil {
		t.Fatal(err)
	}
	const noGroups = "no caller has a group of this issuer: its item in the configuration has no groups_claim"
	for caller, want := range map[string][2]string{ // the problem and the warning
		"oidc:corp:alice":  {},
		"oidc:corp:*":      {},
		"oidc:*":           {},
		"oidc:":            {"names no caller: add a name or * after oidc:"},
		"oidc:corp":        {"names no caller: use oidc:ISSUER:SUBJECT, with the issuer's name and the subject"},
		"oidc:crop:alice":  {"", "there is no issuer of this name in console.oidc"},
		"group:corp:mail":  {},
		"group:*":          {},
		"group:plain:mail": {"", noGroups},
		"group:crop:mail":  {"", "there is no issuer of this name in authentication.jwt or console.oidc"},
	} {
		problem, warning := loaded.CheckCaller(caller)
		if problem != want[0] || !strings.HasPrefix(warning, want[1]) || want[1] == "" && warning != "" {
			t.Errorf("%s: the problem is %q and the warning %q, want %q", caller, problem, warning, want)
		}
	}
}

// TestSameConsole changes each setting.
func TestSameConsole(t *testing.T) {
	read := func(text string) *config.Console {
		t.Helper()
		got, err := parseConsole(t, text, withTLS)
		if err != nil {
			t.Fatal(err)
		}
		return got.Console
	}
	const all = `{address: ":8443", url: "https://a.example", oidc: [{name: corp, issuer: "https://id.test", client_id: b, client_secret: {env: SET}, scopes: [s], groups_claim: g, allow_private_addresses: true}]}`
	first := read(all)
	if !first.Same(read(all)) {
		t.Error("equal consoles differ")
	}
	for was, now := range map[string]string{
		":8443": ":8444", "a.example": "b.example", "corp": "cord", "id.test": "ie.test", "client_id: b": "client_id: c",
		"client_secret: {env: SET}, ": "", "[s]": "[t]", "groups_claim: g": "groups_claim: h", "true": "false", "client_id": "ca_file: ca.pem, client_id",
	} {
		if changed := strings.Replace(all, was, now, 1); first.Same(read(changed)) {
			t.Errorf("%s instead of %s makes no difference", now, was)
		}
	}
	if first.Same(nil) || (*config.Console)(nil).Same(first) || !(*config.Console)(nil).Same(nil) {
		t.Error("a missing console is not compared")
	}
}
