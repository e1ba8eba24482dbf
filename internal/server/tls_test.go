package server_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/authmaterial/broker/internal/testing/authtest"
)

func (w world) handshake(address net.Addr, change func(*tls.Config)) (tls.ConnectionState, error) {
	w.Helper()
	client := &tls.Config{RootCAs: authtest.Pool(w.authority), ServerName: "localhost", NextProtos: []string{"h2", "http/1.1"}}
	if change != nil {
		change(client)
	}
	dialer := tls.Dialer{Config: client}
	conn, err := dialer.DialContext(w.Context(), "tcp", address.String())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close() //nolint:errcheck // no data is lost if closing fails
	// A server that issued session tickets would send one after the handshake.
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = conn.Read(make([]byte, 1))
	return conn.(*tls.Conn).ConnectionState(), nil
}

// TestVersionsOfTLS tries TLS versions, cipher suites of TLS 1.2, and protocols on each listener.
func TestVersionsOfTLS(t *testing.T) {
	w := newWorld(t)
	newer := w.serve("\nlisten: {tls: {certificate_file: broker.pem, key_file: broker.key}}\n", listenTCP(t))
	older := w.serve("\nlisten: {tls: {certificate_file: broker.pem, key_file: broker.key, min_version: \"1.2\"}}\n", listenTCP(t))
	version := func(v uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }
	}
	suite := func(s uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{s} }
	}
	protocols := func(p ...string) func(*tls.Config) { return func(c *tls.Config) { c.NextProtos = p } }
	for name, test := range map[string]struct {
		change       func(*tls.Config)
		newer, older bool
	}{
		"TLS 1.3":                  {version(tls.VersionTLS13), true, true},
		"TLS 1.2":                  {version(tls.VersionTLS12), false, true},
		"TLS 1.1":                  {version(tls.VersionTLS11), false, false},
		"TLS 1.0":                  {version(tls.VersionTLS10), false, false},
		"with GCM":                 {suite(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), false, true},
		"with ChaCha20":            {suite(tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256), false, true},
		"with CBC":                 {suite(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA), false, false},
		"without forward secrecy":  {suite(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), false, false},
		"another protocol":         {protocols("smtp"), false, false},
		"of a server not known":    {func(c *tls.Config) { c.RootCAs = authtest.Pool() }, false, false},
		"of another name":          {func(c *tls.Config) { c.ServerName = "example.test" }, false, false},
		"of an old protocol alone": {protocols("http/1.0"), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			for listener, want := range map[net.Addr]bool{newer.grpc.Addr(): test.newer, newer.http.Addr(): test.newer, older.grpc.Addr(): test.older, older.http.Addr(): test.older} {
				if _, err := w.handshake(listener, test.change); (err == nil) != want {
					t.Errorf("the handshake ends with the error %v, but success is wanted: %v", err, want)
				}
			}
		})
	}
	if state, err := w.handshake(newer.grpc.Addr(), nil); err != nil || state.NegotiatedProtocol != "h2" {
		t.Errorf("the gRPC listener negotiates the protocol %q (%v)", state.NegotiatedProtocol, err)
	}
	if state, err := w.handshake(newer.http.Addr(), nil); err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("the HTTP listener negotiates the protocol %q (%v)", state.NegotiatedProtocol, err)
	}
}

func TestSessionsAreNotResumed(t *testing.T) {
	w := newWorld(t)
	h := w.serve("\nlisten: {tls: {certificate_file: broker.pem, key_file: broker.key, min_version: \"1.2\"}}\n", listenTCP(t))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		sessions := tls.NewLRUClientSessionCache(10)
		for range 3 {
			state, err := w.handshake(h.http.Addr(), func(c *tls.Config) { c.ClientSessionCache, c.MaxVersion = sessions, version })
			if err != nil || state.DidResume {
				t.Errorf("with TLS version %x, the session is resumed: %v (error %v)", version, state.DidResume, err)
			}
		}
	}
}

// served returns the serial number of a listener's certificate.
func (w world) served(address net.Addr, trusted *authtest.Authority) string {
	w.Helper()
	state, err := w.handshake(address, func(c *tls.Config) { c.RootCAs = authtest.Pool(trusted) })
	if err != nil {
		w.Fatal(err)
	}
	return state.PeerCertificates[0].SerialNumber.String()
}

// While connections are open, a reload changes the broker's certificate, and another reload the
// authority that signs client certificates.
func TestCertificatesAreReloaded(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.listenTLS()+everybody, listenTCP(t))
	before, client := w.served(h.grpc.Addr(), w.authority), w.authority.IssueSPIFFE("spiffe://example.test/mailer")
	open := w.dial(h, client)
	if err := getOver(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	next := authtest.NewAuthority("next", time.Now().Add(time.Minute))
	certificate := next.IssueLoopback()
	after := certificate.Leaf.SerialNumber.String()

	// If the certificate file changes, but not the key file, the reload fails, and the previous
	// certificate stays in use.
	w.write("broker.pem", string(authtest.CertificatePEM(certificate)))
	if err := w.reload(h, w.listenTLS()+everybody); err == nil || !strings.Contains(err.Error(), "does not belong to the first certificate") {
		t.Errorf("the error of a reload with a changed certificate but the old key is %v", err)
	}
	for _, listener := range []net.Listener{h.grpc, h.http} {
		if got := w.served(listener.Addr(), w.authority); got != before {
			t.Error("after a failed reload, the server has another certificate")
		}
	}
	w.write("broker.key", string(authtest.KeyPEM(certificate)))
	if err := w.reload(h, w.listenTLS()+everybody); err != nil {
		t.Fatal(err)
	}
	for _, listener := range []net.Listener{h.grpc, h.http} {
		if got := w.served(listener.Addr(), next); got != after {
			t.Error("after a reload, the server still has the old certificate")
		}
	}
	if err := getOver(t.Context(), open); err != nil {
		t.Errorf("a call over a connection that was opened before the change fails: %v", err)
	}
	w.wantCaller("spiffe://example.test/mailer", "mutual_tls")
	want := fmt.Sprintf("\nauthmaterial_tls_certificate_expiry_timestamp_seconds %v\n", float64(certificate.Leaf.NotAfter.Unix()))
	if text := w.scrape(h, next); !strings.Contains(text, want) {
		t.Errorf("the metrics lack %s", want)
	}

	// After the reload, clients need a certificate that the new authority has signed.
	w.write("clients.pem", string(next.PEM()))
	if err := w.reload(h, w.listenTLS()+everybody); err != nil {
		t.Fatal(err)
	}
	renewed := w
	renewed.authority = next
	if err := getOver(t.Context(), renewed.dial(h, client)); err == nil {
		t.Error("a new connection with a certificate of the previous authority is accepted")
	}
	h.wantUnauthenticated(getOver(t.Context(), open), noAuthority)
	if err := getOver(t.Context(), renewed.dial(h, next.IssueSPIFFE("spiffe://example.test/mailer"))); err != nil {
		t.Errorf("a call with a certificate of the new authority fails: %v", err)
	}
	loaded := h.log.lines(t, "TLS certificate loaded")
	if len(loaded) != 2 {
		t.Errorf("the log has %d lines about certificates, want 2", len(loaded))
	}
}

// A reload without the setting tls keeps TLS in use, and asks for a restart.
func TestRemovingTLSNeedsARestart(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.listenTLS()+w.tokens(), listenTCP(t))
	before := w.served(h.grpc.Addr(), w.authority)
	if err := w.reload(h, w.tokens()); err != nil {
		t.Fatal(err)
	}
	if w.served(h.grpc.Addr(), w.authority) != before {
		t.Error("the server's certificate has changed")
	}
	if h.restartsFor("listen") != 1 {
		t.Error("the log does not ask for a restart")
	}
}

// A chain expires with the first of its certificates, which is the intermediate one in this test.
func TestExpiryOfAChain(t *testing.T) {
	w := newWorld(t)
	between := authtest.NewAuthority("between", time.Now().Add(-24*time.Hour))
	certificate := w.authority.IssueLoopback()
	w.write("chain.pem", string(slices.Concat(authtest.CertificatePEM(certificate), between.PEM())))
	w.write("chain.key", string(authtest.KeyPEM(certificate)))
	h := w.serve("\nlisten: {tls: {certificate_file: chain.pem, key_file: chain.key}}\n", listenTCP(t))
	want := fmt.Sprintf("\nauthmaterial_tls_certificate_expiry_timestamp_seconds %v\n", float64(between.Certificate.NotAfter.Unix()))
	if text := w.scrape(h, w.authority); !strings.Contains(text, want) {
		t.Errorf("the metrics lack %s", want)
	}
	if len(h.log.lines(t, "the TLS certificate has expired: clients do not accept it")) != 1 {
		t.Error("the log does not report the expired certificate")
	}
}

func TestSocketsHaveNoTLS(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(socketFolder(t), "grpc")
	h := newServerOf(w, w.listenTLS()+everybody)
	h.grpc, h.http = listen(t, unix(path), 0o600), listenTCP(t)
	h.serveBoth()
	if err := getOver(t.Context(), h.conn); err != nil {
		t.Error(err)
	}
	w.wantCaller(fmt.Sprintf("uid:%d", os.Geteuid()), "peer_user")
}

func TestPlainTextOnATLSPort(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.listenTLS()+everybody, listenTCP(t))
	raw := h.rawConnect(nil)
	raw.get()
	raw.want("closed", 0, 0)
	secure := h.rawConnect(&tls.Config{RootCAs: authtest.Pool(w.authority), ServerName: "localhost", NextProtos: []string{"h2"}})
	secure.wantStatus(secure.get(), codes.Unauthenticated)
	if err := getOver(t.Context(), w.dialWith(h, plain())); err == nil {
		t.Error("a call without encryption is answered")
	}
}
