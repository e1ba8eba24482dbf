package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// goingOut is a configuration with three providers that use the same token server on this machine.
// The token URLs of two providers have the server's host name, one with allow_private_addresses and
// one without. The token URL of the third provider has the server's IP address.
const goingOut = `
token_requests: {ca_file: %q}
credentials:
  - {id: named, provider: named, auth_method: m, values: {client_id: {value: c}, client_secret: {value: canary-2b7e}}}
  - {id: permitted, provider: permitted, auth_method: m, values: {client_id: {value: c}, client_secret: {value: canary-2b7e}}}
  - {id: literal, provider: literal, auth_method: m, values: {client_id: {value: c}, client_secret: {value: canary-2b7e}}}
providers:
`

const goingTo = `  - id: %[1]s
    display_name: %[1]s
    allowed_hosts: [api.example.com]
    auth_methods:
      - id: m
        display_name: M
        fields: [{id: client_id, display_name: I, required: true}, {id: client_secret, display_name: S, required: true, secret: true}]
        token_request: {url: %[2]q, body: JSON, client_authentication: BASIC, allow_private_addresses: %[3]v}
        headers: [{name: Authorization, value: "Bearer ${token}"}]
`

// A tokenProvider is a token server on this machine.
type tokenProvider struct {
	*testing.T
	authority *authtest.Authority
	url       string
	folder    string
}

func newTokenProvider(t *testing.T) tokenProvider {
	t.Helper()
	p := tokenProvider{T: t, authority: authtest.NewAuthority("providers", time.Now()), folder: t.TempDir()}
	tokens := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"t"}`)
	}))
	tokens.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{
		p.authority.Issue(x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}),
	}}
	tokens.StartTLS()
	t.Cleanup(tokens.Close)
	p.url = tokens.URL
	return p
}

// parse returns a configuration that trusts a certificate authority for token servers.
func (p tokenProvider) parse(name string, trusted *authtest.Authority) *config.Config {
	p.Helper()
	roots := filepath.Join(p.folder, name)
	if err := os.WriteFile(roots, trusted.PEM(), 0o600); err != nil {
		p.Fatal(err)
	}
	named := strings.Replace(p.url, "127.0.0.1", "localhost", 1)
	text := fmt.Sprintf(goingOut, roots) +
		fmt.Sprintf(goingTo, "named", named, false) + fmt.Sprintf(goingTo, "permitted", named, true) + fmt.Sprintf(goingTo, "literal", p.url, false)
	loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{})
	if err != nil {
		p.Fatal(err)
	}
	return loaded
}

// TestDefaultTokenTransport uses the same HTTP transport as `broker serve`.
func TestDefaultTokenTransport(t *testing.T) {
	p := newTokenProvider(t)
	loaded := p.parse("roots.pem", p.authority)
	h := serve(t, func(o *server.Options) { o.Config, o.TokenTransport = loaded, nil })
	if err := h.get("named"); status.Code(err) != codes.Unavailable || !strings.HasSuffix(err.Error(), "allow_private_addresses is not set") || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("the error for a private address without permission is %v", err)
	}
	for _, id := range []string{"permitted", "literal"} {
		if err := h.get(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if strings.Contains(h.log.String(), "canary-2b7e") {
		t.Error("the log contains the client secret")
	}
}

// TestTokenRequestsAreReloaded changes which certificate authorities are trusted for token servers.
func TestTokenRequestsAreReloaded(t *testing.T) {
	p := newTokenProvider(t)
	good, bad := p.parse("roots.pem", p.authority), p.parse("others.pem", authtest.NewAuthority("others", time.Now()))
	h := serve(t, func(o *server.Options) { o.Config, o.TokenTransport = bad, nil })
	const untrusted = "certificate is signed by an unknown authority"
	if err := h.get("literal"); err == nil || !strings.HasSuffix(err.Error(), untrusted) {
		t.Errorf("the error of a token request while the authority is not trusted is %v", err)
	}
	reload := func(next *config.Config, err error) {
		t.Helper()
		if got := h.server.Reload(func() (*config.Config, error) { return next, err }); !errors.Is(got, err) {
			t.Fatal(got)
		}
		if err := h.server.ForgetFailures(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reload(good, nil)
	if err := h.get("literal"); err != nil {
		t.Errorf("a token request fails although the authority is trusted: %v", err)
	}
	reload(nil, errors.New("a problem"))
	reload(bad, nil)
	if err := h.get("permitted"); err == nil || !strings.HasSuffix(err.Error(), untrusted) {
		t.Errorf("the error of a token request when the authority is no longer trusted is %v", err)
	}
	if log := h.log.String(); strings.Contains(log, "restart to apply") {
		t.Errorf("the log asks for a restart:\n%s", log)
	}
}
