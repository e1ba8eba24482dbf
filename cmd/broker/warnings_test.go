package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestCheckPrintsWhatServeLogs runs the commands check and serve with configurations that cause
// warnings of every kind. The two commands must warn of the same problems.
func TestCheckPrintsWhatServeLogs(t *testing.T) {
	const (
		local  = "listen: {grpc: '127.0.0.1:0', http: '127.0.0.1:0'}\n"
		socket = "listen: {grpc: 'unix://$FOLDER/s', http: '127.0.0.1:0'}\n"
		remote = "listen: {grpc: '0.0.0.0:0', http: '0.0.0.0:0', insecure_allow_remote: true}\n"
		token  = "authentication: {tokens: [{name: a, sha256: '0000000000000000000000000000000000000000000000000000000000000000'}]}\n"
		key    = "credentials: [{id: a, provider: pendo, auth_method: api_key, values: {api_key: {%s}}}]\n"
	)
	for name, test := range map[string]struct {
		text        string
		environment []string
		want        int
	}{
		"a socket":              {socket, nil, 0},
		"loopback":              {local, nil, 1},
		"the network":           {remote, nil, 3},
		"the network, a token":  {remote + token + "grants: [{callers: ['token:a'], providers: [pendo]}]\n", nil, 2},
		"a group":               {strings.Replace(socket, "}", ", socket_mode: '0660'}", 1), nil, 1},
		"no grants":             {socket + token, nil, 1},
		"grants for nothing":    {socket + token + "grants: [{callers: ['token:b'], credentials: [b], providers: [b]}, {callers: [], credentials: ['*']}]\n", nil, 4},
		"no local caller":       {socket + token + "grants: [{callers: [local], credentials: ['*']}]\n", nil, 1},
		"a placeholder":         {socket + fmt.Sprintf(key, "value: '${PENDO_KEY}'"), nil, 1},
		"a variable":            {socket + fmt.Sprintf(key, "env: PENDO_KEY"), []string{"PENDO_KEY=replace-with-your-key"}, 1},
		"a writable file":       {socket + fmt.Sprintf(key, "file: writable"), nil, 1},
		"keys that are ignored": {socket + "authentication: {jwt: [{name: i, issuer: i, audiences: [b], jwks_file: keys}]}\ngrants: [{callers: ['jwt:i:a'], credentials: ['a*']}]\n", nil, 2},
		"another Pendo":         {socket + "providers: [{id: pendo, display_name: P, allowed_hosts: [a.test], auth_methods: [{id: a, display_name: A, fields: [{id: k, display_name: K, required: true}], headers: [{name: X-A, value: '${k}'}]}]}]\n", nil, 1},
		"proxies":               {socket, []string{"HTTP_PROXY=http://a:b/c@d", "ALL_PROXY=x", "NO_PROXY=10.0.*"}, 3},
		"traces":                {socket, []string{"OTEL_TRACES_EXPORTER=otlp,console", "OTEL_SDK_DISABLED=x", "OTEL_BSP_MAX_QUEUE_SIZE=-1"}, 3},
		"all at once":           {local + token + fmt.Sprintf(key, "value: todo"), []string{"http_proxy=a b"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := shortFolder(t)
			write(t, filepath.Join(folder, "broker.yaml"), strings.ReplaceAll(test.text, "$FOLDER", folder))
			write(t, filepath.Join(folder, "keys"), `{"keys": [{"kty": "unknown", "kid": "a"}, {"kty": "OKP", "crv": "Ed25519", "x": "`+strings.Repeat("A", 43)+`", "kid": "b"}]}`)
			write(t, filepath.Join(folder, "writable"), "k")
			if err := os.Chmod(filepath.Join(folder, "writable"), 0o666); err != nil {
				t.Fatal(err)
			}
			environment := append([]string{"PATH=" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE")}, test.environment...)
			checked, served := checkWarnings(t, folder, environment), serveWarnings(t, folder, environment)
			if !slices.Equal(checked, served) {
				t.Errorf("the command check prints\n%s\nbut serve logs\n%s", strings.Join(checked, "\n"), strings.Join(served, "\n"))
			}
			if len(checked) != test.want {
				t.Errorf("the command check prints %d warnings, want %d:\n%s", len(checked), test.want, strings.Join(checked, "\n"))
			}
		})
	}
}

func checkWarnings(t *testing.T, folder string, environment []string) []string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "broker", "check", "--config", "broker.yaml")
	var stderr bytes.Buffer
	command.Dir, command.Env, command.Stderr = folder, environment, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var all []string
	for line := range strings.Lines(stderr.String()) {
		text, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "warning: ")
		if !found {
			t.Errorf("the command check printed the line %q, want a warning", line)
		}
		all = append(all, regexp.MustCompile(` \((grpc|http|provider|variable): .*\)$`).ReplaceAllString(text, ""))
	}
	slices.Sort(all)
	return all
}

func serveWarnings(t *testing.T, folder string, environment []string) []string {
	t.Helper()
	p, err := startProcess(folder, environment, "broker", "serve", "--config", "broker.yaml", "--log-format", "json")
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	if _, err := p.await(&p.stderr, regexp.MustCompile(`"msg":"serving"`)); err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.String())
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if how, err := p.wait(); err != nil || how != "exit 0" {
		t.Fatalf("the broker ended with %q, %v", how, err)
	}
	var all []string
	for line := range strings.Lines(p.stderr.String()) {
		var entry struct{ Level, Msg, Warning string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if entry.Level != "WARN" {
			continue
		}
		if entry.Warning != "" {
			entry.Msg = entry.Warning
		}
		all = append(all, entry.Msg)
	}
	slices.Sort(all)
	return all
}
