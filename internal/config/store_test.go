package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/config"
)

const sqliteStore = `{url: "sqlite:///var/lib/broker.db", keys: [{env: KEY_1}]}`

// parseStore parses a file whose section store begins in line 1, column 8. More sections follow.
func parseStore(section, more string) (*config.Config, error) {
	return config.Parse("b.yaml", []byte("store: "+section+"\n"+more), config.Options{LookupEnv: fleetEnvironment})
}

func goodStore(t *testing.T, section, more string) *config.Config {
	t.Helper()
	got, err := parseStore(section, more)
	if err != nil {
		t.Fatalf("%s: %v", section, err)
	}
	return got
}

func TestNoStore(t *testing.T) {
	got, err := parse(t, "credentials: []\n")
	if err != nil || got.Store != nil {
		t.Errorf("the store is %+v (%v), want none", got.Store, err)
	}
}

func TestStore(t *testing.T) {
	got := goodStore(t, sqliteStore, "").Store
	if got.SQLitePath != "/var/lib/broker.db" || got.PostgresURL != "" || !slices.Equal(got.IDPatterns, []access.Pattern{"*"}) ||
		got.AllowedHosts != nil || got.Administrators != nil {
		t.Errorf("with the defaults, the store is %+v", got)
	}
	got = goodStore(t, `{url: "postgres://db.example:6543/broker?sslmode=verify-ca&sslrootcert=/ca.pem", user: {env: SET}, password: {env: KEY_2},`+
		` keys: [{env: KEY_2}, {env: KEY_1}], id_patterns: ["mail-*", a], allowed_hosts: ["a.example", "b.example:8443"], administrators: ["uid:1", "token:*"]}`, "").Store
	if got.PostgresURL != "postgres://db.example:6543/broker?sslmode=verify-ca&sslrootcert=%2Fca.pem" || got.SQLitePath != "" ||
		got.User.Reveal() != canary || got.Password.Reveal() != keyTwo ||
		!slices.Equal(got.IDPatterns, []access.Pattern{"mail-*", "a"}) || !slices.Equal(got.AllowedHosts, []string{"a.example", "b.example:8443"}) ||
		!slices.Equal(got.Administrators, []access.Pattern{"uid:1", "token:*"}) {
		t.Errorf("the store is %+v", got)
	}
	if both := goodStore(t, `{url: "sqlite:///a", keys: [{env: KEY_2}, {env: KEY_1}]}`, "").Store; !both.Keys.Equal(got.Keys) {
		t.Error("the keys, or their order, differ from the file")
	}
	if at := goodStore(t, `{url: "sqlite:///home/a@b.example/c", keys: [{env: KEY_1}]}`, "").Store; at.SQLitePath != "/home/a@b.example/c" {
		t.Errorf("the path is %q", at.SQLitePath)
	}
	if none := goodStore(t, `{url: "sqlite:///a", keys: [{env: KEY_1}], id_patterns: []}`, "").Store; len(none.IDPatterns) != 0 {
		t.Errorf("the empty list of ID patterns is %q", none.IDPatterns)
	}
}

// TestPostgresTLS checks that a connection to another machine verifies the server's certificate
// unless the URL says otherwise.
func TestPostgresTLS(t *testing.T) {
	const unverified = "with this sslmode, the broker does not check the server's certificate: use verify-full"
	for given, want := range map[string]struct{ url, warning string }{
		"postgres://db/b":                        {"postgres://db/b?sslmode=verify-full", ""},
		"postgres://10.0.0.1:1/b":                {"postgres://10.0.0.1:1/b?sslmode=verify-full", ""},
		"postgres://localhost/b":                 {"postgres://localhost/b?sslmode=disable", ""},
		"postgres://[::1]:5432/b":                {"postgres://[::1]:5432/b?sslmode=disable", ""},
		"postgres://127.0.0.1/b?sslmode=require": {"postgres://127.0.0.1/b?sslmode=require", ""},
		"postgres://db/b?sslmode=require":        {"postgres://db/b?sslmode=require", unverified},
		"postgres://db/b?sslmode=disable":        {"postgres://db/b?sslmode=disable", unverified},
		"postgres://db/b?sslmode=verify-ca":      {"postgres://db/b?sslmode=verify-ca", ""},
	} {
		got := goodStore(t, `{url: "`+given+`", keys: [{env: KEY_1}], administrators: ["*"]}`, "")
		warning := got.Warnings.Error()
		if got.Store.PostgresURL != want.url || !strings.HasSuffix(warning, want.warning) || (warning == "") != (want.warning == "") {
			t.Errorf("%s: the URL is %s, want %s; the warnings are %q, want %q", given, got.Store.PostgresURL, want.url, warning, want.warning)
		}
	}
}

func TestStoreMistakes(t *testing.T) {
	const (
		form   = "14: must be postgres://HOST:PORT/DATABASE; the port can be left out"
		scheme = "14: must be sqlite:///PATH or postgres://HOST:PORT/DATABASE"
		file   = "14: needs the absolute path of a file: sqlite:///var/lib/authmaterial/broker.db"
		login  = "14: a user or a password is not allowed in the URL: use user and password"
		params = "14: only the parameters sslmode and sslrootcert are allowed in the URL, each of them once"
		keys   = ", keys: [{env: KEY_1}]}"
	)
	for section, want := range map[string]string{
		`{}`:                              `8: the key "keys" is missing` + "\n" + `8: the key "url" is missing`,
		`{url: "sqlite:///a"}`:            `8: the key "keys" is missing`,
		`{url: ""` + keys:                 "14: must not be empty",
		`{url: mysql` + keys:              scheme,
		`{url: "postgresql://a/b"` + keys: scheme,
		`{url: "sqlite://a"` + keys:       file,
		`{url: "sqlite:///a/"` + keys:     file,
		`{url: "sqlite:///"` + keys:       file,
		`{url: "sqlite:///a?b"` + keys:    file,
		`{url: "sqlite:///a", user: {env: SET}, password: {env: SET}` + keys: "29: is not allowed with sqlite://: access to the file depends on its mode\n" +
			"47: is not allowed with sqlite://: access to the file depends on its mode",
		`{url: "postgres://canary:canary@a/b"` + keys:                   login,
		`{url: "postgres://canary@a/b"` + keys:                          login,
		`{url: "postgres://canary:5550123"` + keys:                      form,
		`{url: "postgres://a/"` + keys:                                  form,
		`{url: "postgres:///canary"` + keys:                             form,
		`{url: "postgres://a/b/canary"` + keys:                          form,
		`{url: "postgres://a:0/b"` + keys:                               form,
		`{url: "postgres://a:canary/b"` + keys:                          form,
		`{url: "postgres://a/b#canary"` + keys:                          form,
		`{url: "postgres://a,canary/b"` + keys:                          form,
		`{url: "postgres://a/b?password=canary"` + keys:                 params,
		`{url: "postgres://a/b?sslmode=disable&sslmode=require"` + keys: params,
		`{url: "postgres://a/b?canary"` + keys:                          params,
		`{url: "postgres://a/b?sslmode=prefer"` + keys:                  "14: sslmode must be one of disable, require, verify-ca, verify-full",
		`{url: "postgres://a/b?sslmode="` + keys:                        "14: sslmode must be one of disable, require, verify-ca, verify-full",
		`{url: "postgres://a/b?sslrootcert=canary"` + keys:              "14: sslrootcert needs an absolute path",
		`{url: "postgres://a/b", password: {env: SET}` + keys:           "32: needs user",
		`{url: "postgres://a/b", user: {value: canary}` + keys:          `39: unknown key; known here: "env", "file"`,
		`{url: "sqlite:///a", keys: []}`:                                "35: must have 1 to 10 items, and has 0",
		`{url: "sqlite:///a", keys: [{env: SHORT}]}`:                    "36: the key has 11 bytes, not 32: make one with 'broker keygen'",
		`{url: "sqlite:///a", keys: [{env: KEY_1}, {env: KEY_1}]}`:      "50: duplicate store key: it is also number 1 of the list",
		`{url: "sqlite:///a", keys: [{value: canary}]}`:                 "37: ",
		`{url: "sqlite:///a", allowed_hosts: ["*.example"]` + keys:      "45: must be one host name or IP address",
		`{url: "sqlite:///a", administrators: [root]` + keys:            "46: this is not a caller's name",
	} {
		_, err := parseStore(section, "")
		if err == nil {
			t.Errorf("%s: there is no problem", section)
			continue
		}
		for line, wanted := range zip(strings.Split(err.Error(), "\n"), strings.Split(want, "\n")) {
			if wanted == "" || !strings.HasPrefix(line, "b.yaml:1:"+wanted) {
				t.Errorf("%s: the problem is\n%s\nwant\n%s", section, line, wanted)
			}
		}
		if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "5550123") {
			t.Errorf("%s: a problem quotes a value: %v", section, err)
		}
	}
}

// zip yields the texts of both lists with the same index. The shorter list is filled with empty
// texts.
func zip(a, b []string) func(yield func(string, string) bool) {
	at := func(list []string, i int) string {
		if i < len(list) {
			return list[i]
		}
		return ""
	}
	return func(yield func(string, string) bool) {
		for i := range max(len(a), len(b)) {
			if !yield(at(a, i), at(b, i)) {
				return
			}
		}
	}
}

func TestSameStore(t *testing.T) {
	const base = `{url: "postgres://a/b", user: {env: SET}, password: {env: KEY_1}, keys: [{env: KEY_1}], administrators: ["*"]}`
	before := goodStore(t, base, "").Store
	for change, same := range map[[2]string]bool{
		{"", ""}:                                                       true,
		{`["*"]`, `["uid:1"]`}:                                         true,
		{`keys:`, `id_patterns: [a], keys:`}:                           true,
		{`keys:`, `allowed_hosts: [a.example], keys:`}:                 true,
		{"//a/b", "//a/c"}:                                             false,
		{"postgres://a/b", "postgres://a/b?sslmode=disable"}:           false,
		{"{env: SET}", "{env: KEY_2}"}:                                 false,
		{"password: {env: KEY_1}", "password: {env: KEY_2}"}:           false,
		{"keys: [{env: KEY_1}]", "keys: [{env: KEY_2}, {env: KEY_1}]"}: false,
	} {
		after := goodStore(t, strings.Replace(base, change[0], change[1], 1), "").Store
		if got := before.Same(after); got != same {
			t.Errorf("%q: the stores are the same: %v, want %v", change, got, same)
		}
	}
	if file := goodStore(t, sqliteStore, "").Store; before.Same(file) || before.Same(nil) || (*config.Store)(nil).Same(before) || !(*config.Store)(nil).Same(nil) {
		t.Error("different kinds of stores are the same, or Same returns false for two nil stores")
	}
}

// TestAdministrators checks who may manage, and which warnings a file causes.
func TestAdministrators(t *testing.T) {
	const (
		socket  = "listen: {grpc: \"unix:///run/broker.sock\"}\n"
		nobody  = "b.yaml:1:1: nobody may manage the credentials of the store: add a grant with the action manage, or store.administrators"
		uses    = "grants: [{callers: [\"*\"], credentials: [\"*\"]}]\n"
		useless = "has no effect: the file has grants, which alone say who may manage"
	)
	admins := strings.Replace(sqliteStore, "keys:", `administrators: ["uid:1"], keys:`, 1)
	for _, test := range []struct {
		section, more string
		first, second bool // whether uid:1 and uid:2 may manage over a private socket
		warnings      []string
	}{
		{sqliteStore, "", true, true, []string{nobody}},
		{sqliteStore, socket, true, true, nil},
		{sqliteStore, socket + "authentication: {}\n", false, false, []string{nobody}},
		{admins, socket, true, false, nil},
		{admins, socket + "authentication: {}\n", true, false, nil},
		{admins, socket + "grants: []\n", true, false, nil},
		{admins, socket + uses, false, false, []string{useless, nobody}},
		{admins, socket + strings.Replace(uses, "credentials", "actions: [manage], credentials", 1), true, true, []string{useless}},
		{sqliteStore, socket + strings.Replace(uses, "credentials", "actions: [manage], credentials", 1), true, true, nil},
	} {
		got := goodStore(t, test.section, test.more)
		for name, want := range map[string]bool{"uid:1": test.first, "uid:2": test.second} {
			caller := &access.Caller{Name: name, PrivateSocket: true}
			if allowed := got.Policy.Decide(caller, access.Manage, access.Object{CredentialID: "a"}).Allowed; allowed != want {
				t.Errorf("%s %s: %s may manage: %v, want %v", test.section, test.more, name, allowed, want)
			}
		}
		var warnings []string
		for _, warning := range got.Warnings {
			warnings = append(warnings, warning.String())
		}
		if !slices.EqualFunc(warnings, sorted(test.warnings), strings.HasSuffix) {
			t.Errorf("%s %s: the warnings are %q, want %q", test.section, test.more, warnings, test.warnings)
		}
	}
}

// `sorted` returns the warnings in the order of their places in the file.
func sorted(warnings []string) []string {
	slices.SortFunc(warnings, func(a, b string) int { return strings.Compare(b[:1], a[:1]) })
	slices.Reverse(warnings)
	return warnings
}

// TestGrantsWithStore checks that a grant for an ID that the file does not declare causes no
// warning: the store may have the credential.
func TestGrantsWithStore(t *testing.T) {
	const grants = "grants: [{callers: [\"*\"], credentials: [none, \"none-*\"], actions: [manage]}]\n"
	if got := goodStore(t, sqliteStore, grants); len(got.Warnings) != 0 {
		t.Errorf("the warnings are %v", got.Warnings)
	}
}

func TestKeepWarmAndSecretExpireTime(t *testing.T) {
	const item = "credentials: [{id: a, provider: pendo, auth_method: api_key, values: {api_key: {value: k}}MORE}]\n"
	for more, want := range map[string]struct {
		warm bool
		at   time.Time
	}{
		"": {},
		", keep_warm: true, secret_expire_time: 2027-01-31T00:00:00Z": {true, time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
		`, secret_expire_time: "2027-01-31T02:00:00+02:00"`:           {false, time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
	} {
		got, err := config.Parse("b.yaml", []byte(strings.Replace(item, "MORE", more, 1)), config.Options{})
		if err != nil {
			t.Fatalf("%s: %v", more, err)
		}
		for credential := range got.Credentials.All() {
			if credential.KeepWarm != want.warm || !reflect.DeepEqual(credential.SecretExpireTime, want.at) {
				t.Errorf("%s: the credential is %+v", more, credential)
			}
		}
	}
	for _, value := range []string{"2027-01-31", "tomorrow", "2027-02-30T00:00:00Z", "2027-01-31T00:00:00"} {
		_, err := config.Parse("b.yaml", []byte(strings.Replace(item, "MORE", ", secret_expire_time: "+value, 1)), config.Options{})
		if err == nil || !strings.HasSuffix(err.Error(), ": must be a time such as 2027-01-31T00:00:00Z") {
			t.Errorf("%s: the error is %v", value, err)
		}
	}
}

// TestStoreFiles checks that the files of the store's keys are among the files that are watched for
// changes.
func TestStoreFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(keyOne), 0o600); err != nil {
		t.Fatal(err)
	}
	var read []string
	_, err := config.Parse("b.yaml", []byte(`store: {url: "sqlite:///a", keys: [{file: "`+path+`"}]}`), config.Options{
		Reading: func(path string) { read = append(read, path) },
	})
	if err != nil || !slices.Equal(read, []string{path}) {
		t.Errorf("the files that are read are %q (%v)", read, err)
	}
}

// TestRefreshTokensNeedAStore declares a credential whose refresh tokens must be stored.
func TestRefreshTokensNeedAStore(t *testing.T) {
	const text = `credentials:
- {id: one, provider: p, auth_method: m, values: {refresh_token: {value: first}}}
providers:
- id: p
  display_name: P
  allowed_hosts: [p.example.com]
  auth_methods:
  - id: m
    display_name: M
    fields: [{id: refresh_token, display_name: R, required: true, secret: true}]
    token_request:
      url: https://p.example.com/token
      body: FORM
      client_authentication: NONE
      parameters: {refresh_token: "${refresh_token}"}
      response: {refresh_token: refresh_token}
    headers: [{name: Authorization, value: "Bearer ${token}"}]
`
	_, err := config.Parse("f", []byte(text), config.Options{})
	const want = "f:2:39: the provider replaces the refresh token of this auth method with each token, so the broker must store it: add the section 'store'"
	if err == nil || err.Error() != want {
		t.Errorf("without a store, the problem is %v, want %s", err, want)
	}
	if _, err := parseStore(sqliteStore, text); err != nil {
		t.Errorf("with a store, the problem is %v", err)
	}
}
