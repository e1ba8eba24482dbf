package server

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
)

// The protocols that TLS clients agree on. HTTP/2 is for gRPC alone.
const (
	protocolGRPC = "h2"
	protocolHTTP = "http/1.1"
)

// suites are those of TLS 1.2: what HTTP/2 allows, which is what has forward secrecy and
// authenticates what it encrypts. TLS 1.3 has none that need to be left out.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// listenerTLS is the TLS of listeners. New connections get that of the current Generation.
type listenerTLS struct {
	current func() *config.ListenTLS
	expiry  prometheus.Gauge
	logger  *slog.Logger
	logged  *x509.Certificate // the leaf that the log has told of
}

// newListenerTLS returns nil when there is no TLS.
func newListenerTLS(current func() *config.ListenTLS, registry *prometheus.Registry, logger *slog.Logger) *listenerTLS {
	if current() == nil {
		return nil
	}
	t := &listenerTLS{
		current: current,
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "authmaterial_tls_certificate_expiry_timestamp_seconds",
			Help: "When the broker's own certificate expires, or one between it and its authority that does so before, in Unix time. Absent without TLS.",
		}),
		logger: logger,
	}
	registry.MustRegister(t.expiry)
	return t
}

// loaded notes that there may be another certificate.
func (t *listenerTLS) loaded() {
	if t == nil {
		return
	}
	now := t.current().Certificate
	expires := expiry(now)
	t.expiry.Set(float64(expires.Unix()))
	if !now.Leaf.Equal(t.logged) {
		t.logged = now.Leaf
		t.logger.Info("TLS certificate loaded", "expires", expires)
	}
	if expires.Before(time.Now()) {
		t.logger.Error("the TLS certificate has expired: clients do not accept it", "expired", expires)
	}
}

// expiry is when the first certificate of a chain expires.
func expiry(chain tls.Certificate) time.Time {
	first := chain.Leaf.NotAfter
	for _, encoded := range chain.Certificate[1:] {
		if between, err := x509.ParseCertificate(encoded); err == nil && between.NotAfter.Before(first) {
			first = between.NotAfter
		}
	}
	return first
}

// config returns the settings of a listener for one protocol.
func (t *listenerTLS) config(protocol string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, // each client gets what follows
		NextProtos: []string{protocol},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return settings(t.current(), protocol), nil
		},
	}
}

// over returns a listener for HTTP, with TLS unless it is one of Unix sockets.
func (t *listenerTLS) over(inner net.Listener) net.Listener {
	if t == nil || inner.Addr().Network() == "unix" {
		return inner
	}
	return tls.NewListener(inner, t.config(protocolHTTP))
}

// settings are those for one connection. Sessions are not resumed: each connection proves
// who it is by what counts at that time.
func settings(from *config.ListenTLS, protocol string) *tls.Config {
	made := &tls.Config{
		MinVersion:             from.MinVersion,
		CipherSuites:           slices.Clone(suites),
		Certificates:           []tls.Certificate{from.Certificate},
		NextProtos:             []string{protocol},
		SessionTicketsDisabled: true,
	}
	if from.ClientCAs != nil {
		// A client whose certificate is missing or not valid can have another proof, which each
		// call brings. The certificate is verified when a call needs it as a proof: the handshake
		// shows only that the client has the private key.
		made.ClientAuth, made.ClientCAs = tls.RequestClientCert, from.ClientCAs
		made.VerifyConnection = boundCertificates(from.ClientCAs)
	}
	return made
}

// The sizes of client certificates that the broker keeps for a connection although no authority
// has signed them: bytes of the whole chain, certificates, and parts of all of them, each of
// which takes up many times its bytes.
const (
	maxUnsignedBytes        = 4 << 10
	maxUnsignedCertificates = 4
	maxUnsignedParts        = 100
)

// boundCertificates returns a function that ends handshakes with large client certificates which
// none of these authorities has signed: anybody can send them, and they take up memory for as
// long as the connection is open.
func boundCertificates(authorities *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		bytes, parts := 0, 0
		for _, c := range state.PeerCertificates {
			bytes += len(c.Raw)
			parts += countParts(c)
		}
		if bytes <= maxUnsignedBytes && parts <= maxUnsignedParts && len(state.PeerCertificates) <= maxUnsignedCertificates {
			return nil
		}
		if err := authentication.VerifyCertificates(state.PeerCertificates, authorities, time.Now()); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}

// countParts returns how many names, extensions and entries of extensions a certificate has.
func countParts(c *x509.Certificate) int {
	return len(c.Subject.Names) + len(c.Issuer.Names) + len(c.Extensions) +
		len(c.DNSNames) + len(c.EmailAddresses) + len(c.IPAddresses) + len(c.URIs) +
		len(c.ExtKeyUsage) + len(c.UnknownExtKeyUsage) + len(c.Policies) + len(c.PolicyMappings) +
		len(c.OCSPServer) + len(c.IssuingCertificateURL) + len(c.CRLDistributionPoints) +
		len(c.PermittedDNSDomains) + len(c.ExcludedDNSDomains) + len(c.PermittedIPRanges) + len(c.ExcludedIPRanges) +
		len(c.PermittedEmailAddresses) + len(c.ExcludedEmailAddresses) + len(c.PermittedURIDomains) + len(c.ExcludedURIDomains)
}
