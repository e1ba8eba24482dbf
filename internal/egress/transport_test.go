package egress_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

func get(ctx context.Context, t *testing.T, transport http.RoundTripper, location string) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, location, strings.NewReader("secret"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

type provider struct {
	*httptest.Server
	connections atomic.Int64
}

func newProvider(t *testing.T, change func(*tls.Config)) *provider {
	t.Helper()
	p := &provider{Server: httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "token")
	}))}
	p.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.connections.Add(1)
		}
	}
	p.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if change != nil {
		change(p.TLS)
	}
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *provider) location() string {
	_, port, _ := net.SplitHostPort(p.Listener.Addr().String())
	return "https://example.com:" + port + "/token"
}

func (p *provider) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Certificate())
	return pool
}

func newTransport(t *testing.T, options egress.Options) *egress.Transport {
	t.Helper()
	if options.Proxy == nil {
		options.Proxy = noProxy
	}
	transport := egress.NewTransport(options)
	return transport
}

func TestPrivateAddressesNeedPermission(t *testing.T) {
	server := newProvider(t, nil)
	transport := newTransport(t, egress.Options{RootCAs: server.roots(), Resolver: newNames(t, loopback).resolver()})
	if _, err := get(t.Context(), t, transport, server.location()); !errors.Is(err, egress.ErrAddressRefused) {
		t.Errorf("the error of a request without AllowPrivate is %v", err)
	} else if strings.Contains(egress.ErrAddressRefused.Error(), loopback.String()) {
		t.Error("the error contains the address")
	}
	if made := server.connections.Load(); made != 0 {
		t.Errorf("a request without AllowPrivate made %d connections", made)
	}
	allowed := egress.AllowPrivate(t.Context())
	for range 2 {
		if body, err := get(allowed, t, transport, server.location()); body != "token" {
			t.Errorf("the answer to a request with AllowPrivate is %q, and the error is %v", body, err)
		}
	}
	if made := server.connections.Load(); made != 2 {
		t.Errorf("two requests with AllowPrivate made %d connections", made)
	}
	// A request without AllowPrivate must not reuse the connection of a request with AllowPrivate,
	// so each connection is used for only one request.
	if _, err := get(t.Context(), t, transport, server.location()); !errors.Is(err, egress.ErrAddressRefused) {
		t.Errorf("the error of a request without AllowPrivate, after requests with AllowPrivate, is %v", err)
	}
}

func TestLiteralLoopbackNeedsNoPermission(t *testing.T) {
	secure := newProvider(t, nil)
	plain := httptest.NewServer(secure.Config.Handler)
	defer plain.Close()
	failing := func(*http.Request) (*url.URL, error) { return nil, errors.New("asked for a proxy") }
	transport := newTransport(t, egress.Options{RootCAs: secure.roots(), Proxy: failing})
	for _, location := range []string{secure.URL, plain.URL} {
		if body, err := get(t.Context(), t, transport, location); body != "token" {
			t.Errorf("%s: the answer is %q, and the error is %v", location, body, err)
		}
	}
}

// TestRebinding changes the address of a host name after the name was resolved, and checks that
// only the address at the time of the connection matters.
func TestRebinding(t *testing.T) {
	server := newProvider(t, nil)
	names := newNames(t, netip.MustParseAddr("8.8.8.8"))
	resolver := names.resolver()
	if found, err := resolver.LookupNetIP(t.Context(), "ip4", "example.com"); err != nil || len(found) != 1 || found[0] != netip.MustParseAddr("8.8.8.8") {
		t.Fatalf("the name resolves to %v, and the error is %v", found, err)
	}
	transport := newTransport(t, egress.Options{RootCAs: server.roots(), Resolver: resolver})
	names.set(loopback)
	if _, err := get(t.Context(), t, transport, server.location()); !errors.Is(err, egress.ErrAddressRefused) {
		t.Errorf("the error of a request to a name that now resolves to this machine is %v", err)
	}
	if server.connections.Load() != 0 {
		t.Error("a connection was made")
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	server := newProvider(t, nil)
	old := newProvider(t, func(config *tls.Config) { config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	resolver := newNames(t, loopback).resolver()
	ctx := egress.AllowPrivate(t.Context())

	var unknown x509.UnknownAuthorityError
	if _, err := get(ctx, t, newTransport(t, egress.Options{Resolver: resolver}), server.location()); !errors.As(err, &unknown) {
		t.Errorf("with an unknown authority, the error is %v", err)
	}
	trusting := newTransport(t, egress.Options{Resolver: resolver, RootCAs: server.roots()})
	var wrong x509.HostnameError
	if _, err := get(ctx, t, trusting, strings.Replace(server.location(), "example.com", "example.org", 1)); !errors.As(err, &wrong) {
		t.Errorf("with a certificate for another name, the error is %v", err)
	}
	if body, err := get(ctx, t, trusting, server.location()); body != "token" {
		t.Errorf("with a good certificate, the answer is %q, and the error is %v", body, err)
	}
	trusting = newTransport(t, egress.Options{Resolver: resolver, RootCAs: old.roots()})
	if _, err := get(ctx, t, trusting, old.location()); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("with TLS 1.1, the error is %v", err)
	}
}

// TestClientCertificateIsPresented connects to a server that asks for certificates of its root. The
// certificate of the client is signed by an authority between, which the client does not send.
func TestClientCertificateIsPresented(t *testing.T) {
	root := authtest.NewAuthority("root", time.Now())
	certificate := root.Between("between").Issue(x509.Certificate{})
	certificate.Certificate = certificate.Certificate[:1]
	presented := make(chan int, 1)
	server := newProvider(t, func(config *tls.Config) {
		config.ClientAuth, config.ClientCAs = tls.RequestClientCert, authtest.Pool(root)
		config.VerifyPeerCertificate = func(certificates [][]byte, _ [][]*x509.Certificate) error {
			presented <- len(certificates)
			return nil
		}
	})
	transport := newTransport(t, egress.Options{RootCAs: server.roots(), Resolver: newNames(t, loopback).resolver()})
	ctx := egress.AllowPrivate(t.Context())
	for want, ctx := range []context.Context{ctx, egress.WithClientCertificate(ctx, &certificate)} {
		if _, err := get(ctx, t, transport, server.location()); err != nil {
			t.Fatal(err)
		}
		if got := <-presented; got != want {
			t.Errorf("the server got %d certificates, want %d", got, want)
		}
	}
}

// TestClientCertificateAndProxy checks that a proxy with https, which asks for certificates of its own
// authority, does not get the certificate for the server.
func TestClientCertificateAndProxy(t *testing.T) {
	certificate := authtest.NewAuthority("provider", time.Now()).Issue(x509.Certificate{})
	presented := make(chan int, 1)
	proxy := newProvider(t, func(config *tls.Config) {
		config.ClientAuth, config.ClientCAs = tls.RequestClientCert, authtest.Pool(authtest.NewAuthority("proxy", time.Now()))
		config.VerifyPeerCertificate = func(certificates [][]byte, _ [][]*x509.Certificate) error {
			presented <- len(certificates)
			return nil
		}
	})
	through, err := url.Parse(proxy.location())
	if err != nil {
		t.Fatal(err)
	}
	transport := newTransport(t, egress.Options{RootCAs: proxy.roots(), Resolver: newNames(t, loopback).resolver(), Proxy: http.ProxyURL(through)})
	if _, err := get(egress.WithClientCertificate(t.Context(), &certificate), t, transport, "https://provider.test/"); err == nil {
		t.Error("the proxy connects to no server, and the error is nil")
	}
	if got := <-presented; got != 0 {
		t.Errorf("the proxy got %d certificates, want none", got)
	}
}
