package main

import (
	"bytes"
	"strings"
	"testing"
)

// ownCredentials is a configuration file that refers to secrets that do not exist.
const ownCredentials = `
credentials:
  - {id: mail, display_name: "Mail \e[2J", provider: sendpulse, auth_method: api_key, values: {api_key: {env: NOT_SET}}}
  - {id: intel, provider: pulsedive, auth_method: api_key, values: {api_key: {file: not.there}}}
`

// completions returns the words that the program suggests to a shell, and the directive that
// cobra prints for the shell.
func completions(t *testing.T, args ...string) string {
	t.Helper()
	var out, ignored bytes.Buffer
	if code := run(t.Context(), append([]string{"__complete"}, args...), &out, &ignored); code != exitOK {
		t.Fatalf("the exit code is %d\n%s", code, ignored.String())
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(out.String(), "\t", "=")), " ")
}

func TestCompletion(t *testing.T) {
	t.Setenv(variable("address"), "127.0.0.1:1") // no broker is called
	const noFiles, onlyThese = ":4", ":8"
	path := ownFile(t, ownProviders)
	broken := ownFile(t, "providers: 1\n")
	listed := ownFile(t, ownCredentials)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"providers", "pul"}, "pulsedive=Pulsedive " + noFiles},
		{[]string{"providers", "sendp"}, "sendpulse=SendPulse " + noFiles},
		{[]string{"providers", "--config", path, "acme"}, "acme_=Acme " + noFiles},
		{[]string{"providers", "--config", broken, "pendo"}, "pendo=Pendo " + noFiles},
		{[]string{"providers", "pendo", ""}, noFiles},
		{[]string{"providers", "-o", ""}, "table json " + noFiles},
		{[]string{"providers", "--config", ""}, "yaml yml " + onlyThese},
		{[]string{"serve", "--config", ""}, "yaml yml " + onlyThese},
		{[]string{"get", ""}, noFiles},
		{[]string{"check", "--explain", "--config", listed, ""}, noFiles},
		{[]string{"check", "--explain", "--config", listed, "token:ci", ""}, "mail=Mail \ufffd[2J intel=Pulsedive " + noFiles},
		{[]string{"check", "--explain", "--config", listed, "token:ci", "i"}, "intel=Pulsedive " + noFiles},
		{[]string{"check", "--explain", "--config", listed, "token:ci", "mail", ""}, noFiles},
		{[]string{"check", "--explain", "--config", broken, "token:ci", ""}, noFiles},
		{[]string{"check", "--config", listed, "token:ci", ""}, noFiles},
		{[]string{"credentials", "li"}, "list=Lists credentials, of a broker or of a configuration file " + noFiles},
		{[]string{"credentials", "list", "--config", ""}, "yaml yml " + onlyThese},
		{[]string{"get", "--output", ""}, "table json curl header env netrc " + noFiles},
		{[]string{"get", "--address", ""}, noFiles},
		{[]string{"get", "--url", ""}, noFiles},
	} {
		if got := completions(t, test.args...); got != test.want {
			t.Errorf("the shell completes %q by %q, want %q", test.args, got, test.want)
		}
	}
}

// TestCompletionFromTheEnvironment completes credential IDs of the file that BROKER_CONFIG names.
func TestCompletionFromTheEnvironment(t *testing.T) {
	t.Setenv(variable("address"), "127.0.0.1:1") // no broker is called
	t.Setenv(configVariable, ownFile(t, ownCredentials))
	other := ownFile(t, "credentials: []\n")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"get", ""}, "mail=Mail \ufffd[2J intel=Pulsedive :4"},
		{[]string{"get", "mail", ""}, "intel=Pulsedive :4"},
		{[]string{"get", "m"}, "mail=Mail \ufffd[2J :4"},
		{[]string{"check", "--explain", "token:ci", "m"}, "mail=Mail \ufffd[2J :4"},
		{[]string{"check", "--explain", "--config", other, "token:ci", "m"}, ":4"},
	} {
		if got := completions(t, test.args...); got != test.want {
			t.Errorf("the shell completes %q by %q, want %q", test.args, got, test.want)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if script := succeed(t, "completion", shell); !strings.Contains(script, "__complete") {
			t.Errorf("the script for %s does not run the broker", shell)
		}
	}
}
