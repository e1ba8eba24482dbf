package consoletest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/testing/authtest"
	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// TestCommands runs the commands that the page of a credential shows, and compiles its Go code, for a
// broker with a Unix socket and for brokers with TCP.
func TestCommands(t *testing.T) {
	t.Parallel()
	tools := t.TempDir()
	if _, err := os.ReadDir("../../../cmd/broker"); err != nil { // go test reuses no result of another program
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), "go", "build", "-o", tools, "github.com/authmaterial/broker/cmd/broker").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	grpcurl, err := filepath.Abs("../../../.bin/grpcurl")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(grpcurl, filepath.Join(tools, "grpcurl")); err != nil {
		t.Fatal(err)
	}
	authority, folder := authtest.NewAuthority("broker", time.Now()), t.TempDir()
	certificate := authority.IssueLoopback()
	for name, content := range map[string][]byte{
		"ca.pem": authority.PEM(), "broker.pem": authtest.CertificatePEM(certificate), "broker.key": authtest.KeyPEM(certificate), "token": []byte(tokenOf("admin")),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	declared := defaultAccess() + `
credentials: [{id: pendo, provider: pendo, auth_method: api_key, values: {api_key: {env: PENDO_KEY}}}]
`
	tls := fmt.Sprintf(", tls: {certificate_file: %q, key_file: %q}", filepath.Join(folder, "broker.pem"), filepath.Join(folder, "broker.key"))
	var code []string
	for name, with := range map[string]setup{
		"a Unix socket":          {sections: declared},
		"TCP":                    {sections: declared, tcp: true},
		"TCP with TLS and token": {sections: declared, tcp: true, listen: tls, scheme: "https"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, with)
			page := browsertest.Open(t, s.address+"/sign-in?next=/credentials/pendo")
			page.Type("#token", tokenOf("admin"))
			page.Click("main button.primary")
			page.AwaitPath("/credentials/pendo")
			for id, want := range map[string]string{"get": "x-pendo-integration-key", "grpcurl": `"x-pendo-integration-key"`} {
				command := exec.CommandContext(t.Context(), "bash", "-c", copied(page, id))
				command.Dir, command.Env = folder, append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"))
				said, err := command.CombinedOutput()
				if err != nil || !strings.Contains(string(said), want) {
					t.Errorf("%s: %v\n%s", copied(page, id), err, said)
				}
			}
			code = append(code, copied(page, "go"))
			if !strings.Contains(copied(page, "go"), "defer broker.Close()") {
				t.Errorf("the Go code does not close the client:\n%s", copied(page, "go"))
			}
		})
	}
	compile(t, code)
}

// copied returns a text that the page offers for copying.
func copied(page *browsertest.Page, id string) string {
	return browsertest.Eval[string](page, "document.getElementById('"+id+"').textContent")
}

// compile compiles pieces of code. The last statement of each piece declares httpClient.
func compile(t *testing.T, code []string) {
	t.Helper()
	file, text := filepath.Join(t.TempDir(), "main.go"), `package main

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/client"
)

func main() {}
`
	for n, statements := range code {
		text += fmt.Sprintf("\nfunc code%d() error {\n%s\n_ = httpClient\nreturn nil\n}\n", n, statements)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, said, text)
	}
}

// TestOwnProvider checks that the broker accepts the description of a provider that the page Providers
// shows.
func TestOwnProvider(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	page := s.signedIn()
	page.Go(s.address + "/providers")
	text := copied(page, "own-provider") + `
listen: {grpc: "unix:///run/broker.sock"}
credentials:
- {id: one, provider: acme, auth_method: api_key, values: {api_key: {env: KEY}}}
- {id: two, provider: acme, auth_method: oauth2_client_credentials, values: {client_id: {env: ID}, client_secret: {env: SECRET}}}
`
	set := config.Options{LookupEnv: func(string) (string, bool) { return "value", true }}
	if _, err := config.Parse("broker.yaml", []byte(text), set); err != nil {
		t.Errorf("%v in:\n%s", err, text)
	}
}
