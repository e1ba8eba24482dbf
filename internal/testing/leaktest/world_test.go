package leaktest_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/authtest"
	"github.com/authmaterial/broker/internal/testing/leaktest"
)

// world is the state of the test: a folder with configuration files, all secrets in them, and the
// collected output of the broker.
type world struct {
	*testing.T
	folder, binary string
	authority      *authtest.Authority
	keys, noKeys   *authtest.KeyServer
	key            authtest.Key
	provider       *provider
	redisURL       string
	redisPassword  string
	metadata       string            // secret in the metadata of every call, which the broker does not use
	configs        map[string]string // configuration files by name
	environment    []string

	tokens map[string]string // callers' tokens by name

	mu     sync.Mutex
	finder leaktest.Finder
	texts  map[string]*bytes.Buffer
}

// `sent` is the key of w.texts under which token requests are collected. No other collected text
// may contain secrets.
const sent = "what the provider was sent"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		T: t, folder: shortFolder(t), authority: authtest.NewAuthority("clients", time.Now()), key: authtest.NewEC("first"),
		tokens: map[string]string{}, texts: map[string]*bytes.Buffer{}, environment: os.Environ(),
	}
	w.binary = filepath.Join(w.folder, "broker")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", w.binary, "github.com/authmaterial/broker/cmd/broker").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.keys, w.noKeys = authtest.NewKeyServer(t, w.key), authtest.NewKeyServer(t)
	w.noKeys.Fails()
	w.provider = newProvider(w)
	broker := w.authority.IssueLoopback()
	private := string(authtest.KeyPEM(broker))
	w.know("the broker's private key", strings.Split(private, "\n")[1])
	w.write("broker.pem", string(authtest.CertificatePEM(broker)))
	w.write("broker.key", private)
	w.write("clients.pem", string(w.authority.PEM()))
	w.write("issuers.pem", string(w.keys.RootsPEM())+string(w.noKeys.RootsPEM()))
	w.write("provider.pem", string(certificatePEM(w.provider.Certificate())))
	for _, name := range []string{"mailer", "stranger"} {
		w.tokens[name] = w.know("the static token of "+name, authentication.GenerateToken().Reveal())
	}
	w.write("fleet.key", w.know("the fleet key", fleetkeys.Generate()))
	w.redisPassword, w.metadata = w.canary("the password of Redis"), w.canary("a secret in the metadata")
	w.write("redis.password", w.redisPassword)
	return w
}

func certificatePEM(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

// shortFolder returns a folder whose path is short enough for Unix sockets.
func shortFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "leak")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// `know` adds a secret to those that the test searches for in the collected texts, and returns it.
func (w *world) know(name, secret string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.finder.Add(name, secret)
	return secret
}

// canary returns a new secret, and makes the test search for it.
func (w *world) canary(name string) string { return w.know(name, leaktest.Canary()) }

// mint returns a caller's JSON Web Token, and makes the test search for it.
func (w *world) mint(name string, k authtest.Key, claims authtest.Claims) string {
	token := k.Mint(nil, authtest.Claims{
		"iss": "https://idp.test", "aud": "broker", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(),
	}.With(claims))
	return w.know("the JWT "+name, token)
}

func (w *world) collect(where string, text []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.texts[where] == nil {
		w.texts[where] = new(bytes.Buffer)
	}
	_, _ = w.texts[where].Write(append(text, '\n'))
}

func (w *world) collectFile(where, path string) {
	w.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	w.collect(where, text)
}

func (w *world) contains(where, text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.texts[where] != nil && strings.Contains(w.texts[where].String(), text)
}

// search returns the secrets in the collected output, except in token requests.
func (w *world) search() (found []leaktest.Finding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for where, text := range w.texts {
		if where == sent {
			if len(w.finder.Search(where, text.Bytes())) < len(misbehaviours) {
				w.Error("found no secrets in the requests that the provider received: the search does not work")
			}
			continue
		}
		found = append(found, w.finder.Search(where, text.Bytes())...)
	}
	return found
}

func (w *world) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.folder, name) }

// setenv sets an environment variable for programs that start from now on.
func (w *world) setenv(name, value string) { w.environment = append(w.environment, name+"="+value) }

func (w *world) lookup(name string) (string, bool) {
	for _, variable := range slices.Backward(w.environment) {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value, true
		}
	}
	return "", false
}

func (w *world) wantSearched() {
	w.Helper()
	for where, text := range map[string]string{
		"over TCP: log": "no token issued", "over a socket: log": "no token issued", "over TCP: errors": "CREDENTIAL_REJECTED",
		"over TCP: errors of items": "refused the credential", "over TCP: /metrics": "authmaterial_", "over TCP: /readyz": "ok",
		"audit file": "ACCESS_DENIED", "over a socket: standard output": "\"outcome\"", "traces": "token request",
		"Redis: keys and values": "authmaterial:1", "Redis: commands": "authmaterial:1", "broker check": "slip.yaml:", "broker get": "CREDENTIAL_REJECTED",
		"over TCP: process arguments": "tcp.yaml",
	} {
		if !w.contains(where, text) {
			w.Errorf("the collected output %s must contain %q", where, text)
		}
	}
}

// inYAML returns a text as a JSON string, which is valid YAML.
func inYAML(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		panic(fmt.Sprintf("a text has no JSON: %v", err))
	}
	return string(encoded)
}
