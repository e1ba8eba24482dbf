package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// canary is a secret that no error may quote.
const canary = "canary-8d2e"

func environment(name string) (string, bool) {
	values := map[string]string{"SET": canary, "EMPTY": ""}
	value, found := values[name]
	return value, found
}

func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good":     canary + "\n",
		"windows":  canary + "\r\n",
		"two":      canary + "\n\n",
		"empty":    "",
		"newline":  "\n",
		"large":    strings.Repeat("x", 64<<10+1),
		"unicode":  canary + "é",
		"trailing": canary + " ",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func parse(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	return config.Parse(filepath.Join(folder(t), "b.yaml"), []byte(text), config.Options{LookupEnv: environment})
}

func TestGoodConfiguration(t *testing.T) {
	got, err := parse(t, `
listen: {grpc: "unix:///run/broker.sock", http: "[::1]:9464", socket_mode: "0660"}
credentials:
  - id: a.b_c-1
    display_name: A
    description: about it
    labels: {team: growth}
    provider: pendo
    auth_method: api_key
    allowed_hosts: [app.pendo.test, app.pendo.io]
    values: {api_key: {file: good}}
  - {id: b, provider: pulsedive, auth_method: api_key, values: {api_key: {env: SET}}}
  - {id: c, provider: spotdraft, auth_method: client_headers, disabled: true, values: {client_id: {value: "1"}, client_secret: {file: windows}}}
`)
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen.GRPC.String() != "unix:///run/broker.sock" || got.Listen.HTTP.String() != "[::1]:9464" || got.Listen.SocketMode != fs.FileMode(0o660) {
		t.Errorf("listen is %+v", got.Listen)
	}
	a := find(got, "a.b_c-1")
	if a == nil || a.DisplayName != "A" || a.Description != "about it" || a.Labels["team"] != "growth" || a.Values["api_key"].Reveal() != canary {
		t.Error("the first credential differs from the file")
	}
	if hosts := strings.Join(a.AllowedHosts, " "); hosts != "app.pendo.io us1.app.pendo.io app.eu.pendo.io app.jpn.pendo.io app.au.pendo.io app.pendo.test" {
		t.Errorf("the allowed hosts are %s", hosts)
	}
	if find(got, "b").Values["api_key"].Reveal() != canary {
		t.Error("the value differs from the value of the environment variable")
	}
	if !find(got, "c").Disabled || a.Disabled {
		t.Error("the field Disabled differs from the file")
	}
	if got.Credentials.Len() != 3 {
		t.Errorf("%d credentials, want 3", got.Credentials.Len())
	}
}

func find(c *config.Config, id string) *credentials.Credential {
	for credential := range c.Credentials.All() {
		if credential.ID == id {
			return credential
		}
	}
	return nil
}

func TestDefaults(t *testing.T) {
	got, err := parse(t, "credentials: []\n")
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen.GRPC.String() != "127.0.0.1:50051" || got.Listen.HTTP.String() != "127.0.0.1:9464" || got.Listen.SocketMode != 0o600 {
		t.Errorf("listen is %+v", got.Listen)
	}
}

func pendo(source string) string {
	return "credentials:\n- {id: a, provider: pendo, auth_method: api_key, values: {api_key: " + source + "}}\n"
}

func TestMistakes(t *testing.T) {
	const beyond = "would listen beyond this machine without TLS and authenticated callers: add listen.tls, and listen.tls.client_ca_file, authentication.jwt or authentication.tokens. Or use 127.0.0.1, [::1] or localhost with a port, or unix:///path. 'insecure_allow_remote: true' under 'listen' permits this, but then anybody on the network can get the secrets"
	for name, test := range map[string]struct {
		text string
		want []string // the expected problems with line and column; $DIR stands for the file's folder
	}{
		"unset variable":     {pendo("{env: UNSET}"), []string{`2:74: the environment variable UNSET is not set`}},
		"empty variable":     {pendo("{env: EMPTY}"), []string{`2:74: the environment variable EMPTY is empty`}},
		"odd variable":       {pendo(`{env: "A B"}`), []string{`2:74: the environment variable is not set`}},
		"missing file":       {pendo("{file: none}"), []string{`2:75: the file does not exist; a relative path is relative to $DIR`}},
		"empty file":         {pendo("{file: empty}"), []string{`2:75: the file is empty; a relative path is relative to $DIR`}},
		"file of a newline":  {pendo("{file: newline}"), []string{`2:75: the file is empty; a relative path is relative to $DIR`}},
		"large file":         {pendo("{file: large}"), []string{`2:75: the file is larger than the limit of 64 KiB; a relative path is relative to $DIR`}},
		"folder":             {pendo("{file: .}"), []string{`2:75: the file is not a regular file; a relative path is relative to $DIR`}},
		"two sources":        {pendo("{file: good, env: SET}"), []string{`2:68: must be exactly one of {env: NAME}, {file: PATH} and {value: TEXT}`}},
		"a bare secret":      {pendo(canary), []string{`2:68: must be exactly one of {env: NAME}, {file: PATH} and {value: TEXT}`}},
		"no source":          {pendo("{}"), []string{`2:68: must be exactly one of {env: NAME}, {file: PATH} and {value: TEXT}`}},
		"two newlines":       {pendo("{file: two}"), []string{`2:68: in the file two: the value has a line break at byte 12, which is not allowed in "x-pendo-integration-key"`}},
		"not ASCII":          {pendo("{file: unicode}"), []string{`2:68: in the file unicode: the value has a character outside ASCII at byte 12, which is not allowed in "x-pendo-integration-key"`}},
		"trailing space":     {pendo("{file: trailing}"), []string{`2:68: in the file trailing: the value has a space at its beginning or end, which is not allowed in "x-pendo-integration-key"`}},
		"control character":  {pendo(`{value: "a\u0001"}`), []string{`2:68: the value has a control character at byte 2, which is not allowed in "x-pendo-integration-key"`}},
		"unquoted number":    {pendo("{value: 12345}"), []string{`2:76: must be a string, and is a number: put it in quotes`}},
		"empty value":        {pendo(`{value: ""}`), []string{`2:76: must not be empty`}},
		"client secret":      {"credentials:\n- {id: a, provider: sendpulse, auth_method: oauth2_client_credentials, values: {client_id: {value: i}, client_secret: {file: two}}}", []string{`2:119: in the file two: the value has a line break at byte 12, which is not allowed in a token request`}},
		"unknown provider":   {"credentials:\n- {id: a, provider: pendoo, auth_method: x, values: {}}", []string{`2:21: no provider has this ID; did you mean "pendo"?`}},
		"unknown method":     {"credentials:\n- {id: a, provider: sendpulse, auth_method: oauth, values: {}}", []string{`2:45: SendPulse has no auth method of this ID; there are: oauth2_client_credentials, api_key`}},
		"missing field":      {"credentials:\n- {id: a, provider: sendpulse, auth_method: api_key, values: {}}", []string{`2:62: the required field "api_key" is missing: API key. The API key. SendPulse shows the key only once, when it is created`}},
		"unknown field":      {"credentials:\n- {id: a, provider: pulsedive, auth_method: api_key, values: {api_key: {value: k}, key: {value: k}}}", []string{`2:84: auth method "api_key" of Pulsedive has no such field; it has: api_key`}},
		"same ID":            {pendo("{value: k}") + strings.TrimPrefix(pendo("{value: k}"), "credentials:\n"), []string{`3:8: duplicate ID: it is already in line 2`}},
		"bad ID":             {strings.Replace(pendo("{value: k}"), "id: a", "id: A", 1), []string{`2:8: must be 1 to 128 lower-case letters, digits, dots, underscores and hyphens, with a letter or digit at each end`}},
		"wildcard host":      {strings.Replace(pendo("{value: k}"), "id: a", `id: a, allowed_hosts: ["*.pendo.io"]`, 1), []string{`2:27: must be one host name or IP address in lower case, optionally with a port up to 65535: no scheme, no path, no wildcard`}},
		"everywhere":         {"listen: {grpc: \":50051\"}", []string{`1:16: ` + beyond}},
		"all addresses":      {"listen: {grpc: 0.0.0.0:50051, http: \"[::]:1\"}", []string{`1:16: ` + beyond, `1:37: ` + beyond}},
		"a host name":        {"listen: {grpc: \"broker.example.test:50051\"}", []string{`1:16: ` + beyond}},
		"no port":            {"listen: {grpc: localhost}", []string{`1:16: must be an address with a port, such as 127.0.0.1:50051, or unix:///path`}},
		"odd port":           {"listen: {grpc: \"localhost:http\"}", []string{`1:16: the port must be a number from 0 to 65535`}},
		"socket a folder":    {"listen: {http: \"unix:///run/\"}", []string{`1:16: names a folder: a Unix socket needs a file name, such as unix:///run/broker.sock`}},
		"socket path long":   {"listen: {grpc: unix:///" + strings.Repeat("x", 300) + "}", []string{fmt.Sprintf(`1:16: the path of a Unix socket can have at most %d bytes`, len(syscall.RawSockaddrUnix{}.Path)-1)}},
		"relative socket":    {"listen: {grpc: unix://broker.sock}", []string{`1:16: a Unix socket needs an absolute path: unix:///run/broker.sock`}},
		"same address":       {"listen: {grpc: \"localhost:1\", http: \"localhost:1\"}", []string{`1:37: must differ from listen.grpc: use another port`}},
		"file mode a number": {"listen: {socket_mode: 0660}", []string{`1:23: must be a string, and is a number: put it in quotes`}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			_, err := config.Parse(filepath.Join(dir, "b.yaml"), []byte(test.text), config.Options{LookupEnv: environment})
			var problems yamlfile.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("the error is %v, want problems", err)
			}
			text := strings.ReplaceAll(strings.ReplaceAll(err.Error(), filepath.Join(dir, "b.yaml")+":", ""), dir, "$DIR")
			if want := strings.Join(test.want, "\n"); test.want != nil && text != want {
				t.Errorf("the problems are\n%s\nwant\n%s", text, want)
			}
			if strings.Contains(text, canary) {
				t.Errorf("a problem quotes a secret: %s", text)
			}
		})
	}
}

func TestMistakesAreReportedAllAtOnce(t *testing.T) {
	_, err := parse(t, `listen: {grpc: 0.0.0.0:1}
crednetials: []
credentials:
  - id: a
    provider: pendo
    auth_method: api_key
    values: {api_key: {env: UNSET}}
  - id: a
    provider: unknown
    auth_method: api_key
    values: {}
    id: b
  - id: B!
    provider: spotdraft
    auth_method: client_headers
    values: {client_id: {value: "`+canary+`\t"}, email: {value: x}}
providers:
  - id: mine
    display_name: Mine
    allowed_hosts: ["https://x"]
    auth_methods:
      - id: m
        display_name: M
        fields: [{id: key, display_name: K}]
        headers:
          - {name: "A B", value: "${kye}"}
          - {name: Host, value: x}
          - {name: x-a, value: "a ${key"}
          - {name: X-A, value: "${key.size()}"}
`)
	if err == nil {
		t.Fatal("a file with problems causes no error")
	}
	var places []string
	for _, line := range strings.Split(err.Error(), "\n") {
		_, rest, _ := strings.Cut(line, "b.yaml:")
		place, what, _ := strings.Cut(rest, ": ")
		places = append(places, place)
		if what == "" || strings.Contains(what, canary) {
			t.Errorf("the problem at %s is %q", place, what)
		}
	}
	want := "1:16 2:1 7:29 8:9 9:15 12:5 13:9 16:13 16:25 16:51 20:21 26:20 26:37 27:20 28:35 29:20 29:43"
	if got := strings.Join(places, " "); got != want {
		t.Errorf("the problems are at\n%s\nwant\n%s\n%v", got, want, err)
	}
}

// TestIDPattern checks that configuration files and calls accept the same credential IDs.
func TestIDPattern(t *testing.T) {
	for id, valid := range map[string]bool{"a": true, "a-b.c_1": true, "-a": false, "a-": false, "A": false, "": false} {
		_, err := parse(t, strings.Replace(pendo("{value: k}"), "id: a", `id: "`+id+`"`, 1))
		if (err == nil) != valid || credentials.ValidID(id) != valid {
			t.Errorf("%q: the problems are %v, ValidID is %v; want valid: %v", id, err, credentials.ValidID(id), valid)
		}
	}
}

// TestSlipsDoNotShowTheSecret checks that no error quotes a secret that a user entered in the wrong
// place.
func TestSlipsDoNotShowTheSecret(t *testing.T) {
	for _, source := range []string{
		"{value:" + canary + "}", "{value: ab," + canary + "}", "{env: " + canary + "}", "{file: " + canary + "}",
		canary, "{" + canary + ": x}", "{value: [" + canary + "]}", "{value: x}, " + canary + ": {value: x}", "{value: x}, " + canary,
		"{value: x, value: " + canary + "}", "{" + canary + ": x, " + canary + ": y}", "*" + canary, "!" + canary + " x", "{value: \"" + canary,
	} {
		text := pendo(source)
		_, err := parse(t, text)
		if err == nil {
			t.Errorf("%q has no problem", source)
			continue
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%q: a problem quotes the secret: %v", source, err)
		}
	}
}

// TestNoProblemQuotesAValue replaces each scalar value of a file by a secret, and checks that no
// problem quotes the secret.
func TestNoProblemQuotesAValue(t *testing.T) {
	for _, text := range []string{
		"SECRET", "- SECRET", "listen: SECRET", "listen: {grpc: [SECRET], http: {a: SECRET}, tls: SECRET, socket_mode: SECRET}",
		"token_cache: {fleet_keys: SECRET, renewal_window: SECRET, redis: {url: SECRET, addresses: [SECRET], database: SECRET}}",
		"limits: {connections: SECRET}", "audit: {mode: SECRET, stdout: SECRET}", "grants: [{callers: [SECRET], actions: [SECRET]}]",
		"authentication: {jwt: [{name: SECRET!, jwks_url: SECRET, algorithms: [SECRET]}], tokens: [{sha256: SECRET}]}",
		"credentials: SECRET", "credentials: [SECRET]", "nope: SECRET", "nope: {a: [SECRET]}", "SECRET: a",
		"credentials: [{id: SECRET!, disabled: SECRET, provider: [SECRET], auth_method: SECRET}]",
		"credentials: [{id: a, provider: SECRET, auth_method: SECRET, values: {}}, {id: b, provider: pendo, auth_method: SECRET, values: {}}]",
		"credentials: [{allowed_hosts: [SECRET!, SECRET, SECRET, {a: SECRET}, SECRET]}]",
		"credentials: [{labels: {Team: SECRET, a: {b: SECRET}, SECRET!: c}, display_name: {a: SECRET}}]",
		"credentials: [{values: {a: SECRET, b: [SECRET], c: {value: SECRET, env: SECRET}, d: {value: {a: SECRET}}, e: {vlaue: SECRET}}}]",
		"providers: [{id: SECRET!, documentation_url: SECRET, auth_methods: [{rejected_statuses: [SECRET, SECRET], token_request: {body: SECRET}}]}]",
	} {
		for _, form := range []string{canary, "'" + canary + "'", canary + " " + canary, "é" + canary, "7" + canary} {
			_, err := parse(t, strings.ReplaceAll(text, "SECRET", form))
			if err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("%s: the problems are %v", text, err)
			}
		}
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), config.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}
