package server_test

import (
	"crypto/tls"
	"crypto/x509"
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

	"github.com/authmaterial/broker/internal/authtest"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
)

// goingOut has three definitions that lead to one token server on this machine: by its
// name with and without permission, and by its literal address.
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

// TestTokenRequestsLeaveByTheServersOwnTransport has the transport that serve has.
func TestTokenRequestsLeaveByTheServersOwnTransport(t *testing.T) {
	authority, other := authtest.NewAuthority("providers", time.Now()), authtest.NewAuthority("others", time.Now())
	tokens := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"t"}`)
	}))
	tokens.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{
		authority.Issue(x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}),
	}}
	tokens.StartTLS()
	defer tokens.Close()
	folder := t.TempDir()
	parse := func(name string, of *authtest.Authority) *config.Config {
		roots := filepath.Join(folder, name)
		if err := os.WriteFile(roots, of.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		named := strings.Replace(tokens.URL, "127.0.0.1", "localhost", 1)
		text := fmt.Sprintf(goingOut, roots) +
			fmt.Sprintf(goingTo, "named", named, false) + fmt.Sprintf(goingTo, "permitted", named, true) + fmt.Sprintf(goingTo, "literal", tokens.URL, false)
		loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	loaded := parse("roots.pem", authority)
	h := serve(t, func(o *server.Options) { o.Config, o.TokenTransport = loaded, nil })
	if err := h.get("named"); status.Code(err) != codes.Unavailable || !strings.HasSuffix(err.Error(), "allow_private_addresses") || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("the refusal is %v", err)
	}
	for _, id := range []string{"permitted", "literal"} {
		if err := h.get(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if err := h.server.Reload(func() (*config.Config, error) { return parse("others.pem", other), nil }); err != nil {
		t.Fatal(err)
	}
	if log := h.log.String(); !strings.Contains(log, "a change of 'token_requests' takes a restart") || strings.Contains(log, "canary-2b7e") {
		t.Error("the log lacks the warning, or has the secret")
	}
	untrusting := serve(t, func(o *server.Options) { o.Config, o.TokenTransport = parse("others.pem", other), nil })
	if err := untrusting.get("literal"); err == nil || !strings.HasSuffix(err.Error(), "its certificate is signed by an unknown authority") {
		t.Errorf("a certificate of an authority that is not trusted: %v", err)
	}
}
