package server

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
)

// These are the protocols that TLS connections can negotiate. Only gRPC connections use HTTP/2.
const (
	protocolGRPC = "h2"
	protocolHTTP = "http/1.1"
)

// The allowed cipher suites of TLS 1.2 are those that HTTP/2 allows, with forward secrecy and
// authenticated encryption. All suites of TLS 1.3 are allowed.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// hasTLS reports whether the TCP listeners use TLS. A reload cannot switch TLS on or off.
func (s *Server) hasTLS() bool { return s.fixed.Listen.TLS != nil }

// noteCertificate logs the TLS certificate of a configuration, unless the previous configuration
// had the same certificate. The previous configuration is nil at the start of the server.
func (s *Server) noteCertificate(now, before *config.Config) {
	if !s.hasTLS() {
		return
	}
	certificate := now.Listen.TLS.Certificate
	expires := expiry(certificate)
	s.observer.CertificateLoaded(expires)
	if before == nil || !certificate.Leaf.Equal(before.Listen.TLS.Certificate.Leaf) {
		s.logger.Info("TLS certificate loaded", "expires", expires)
	}
	if expires.Before(time.Now()) {
		s.logger.Error("the TLS certificate has expired: clients do not accept it", "expired", expires)
	}
}

func expiry(chain tls.Certificate) time.Time {
	first := chain.Leaf.NotAfter
	for _, encoded := range chain.Certificate[1:] {
		if intermediate, err := x509.ParseCertificate(encoded); err == nil && intermediate.NotAfter.Before(first) {
			first = intermediate.NotAfter
		}
	}
	return first
}

// tlsConfig returns the TLS settings of a listener. Each connection gets the settings of the
// configuration that is in use when the connection begins.
func (s *Server) tlsConfig(protocol string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, // GetConfigForClient replaces this setting for each connection
		NextProtos: []string{protocol},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return connectionTLS(s.broker.Current().Config.Listen.TLS, protocol), nil
		},
	}
}

// overTLS returns an HTTP listener that uses TLS if TLS is configured. A Unix socket never uses
// TLS.
func (s *Server) overTLS(inner net.Listener) net.Listener {
	if !s.hasTLS() || inner.Addr().Network() == "unix" {
		return inner
	}
	return tls.NewListener(inner, s.tlsConfig(protocolHTTP))
}

// connectionTLS returns the TLS settings of one connection. TLS sessions are not resumed, so that
// every client certificate is checked with the current settings.
func connectionTLS(from *config.ListenTLS, protocol string) *tls.Config {
	made := &tls.Config{
		MinVersion:             from.MinVersion,
		CipherSuites:           slices.Clone(suites),
		Certificates:           []tls.Certificate{from.Certificate},
		NextProtos:             []string{protocol},
		SessionTicketsDisabled: true,
	}
	if from.ClientCAs != nil {
		// The handshake shows only that the client has the private key of its certificate. The
		// certificate itself is verified in each call that needs it for authentication. A client
		// whose certificate is missing or invalid may send a token with each call instead.
		made.ClientAuth, made.ClientCAs = tls.RequestClientCert, from.ClientCAs
		made.VerifyConnection = limitCertificates(from.ClientCAs)
	}
	return made
}

// These constants limit client certificates that no trusted authority has signed: the bytes of the
// whole chain, the number of certificates, and the number of parts that countParts counts. In
// memory, a part, such as a name, is much larger than in the certificate.
const (
	maxUnsignedBytes        = 4 << 10
	maxUnsignedCertificates = 4
	maxUnsignedParts        = 100
)

// limitCertificates returns a check of the client certificates of a handshake. The check rejects
// certificates that exceed the limits for unsigned certificates and that none of the authorities
// has signed. Without this check, anybody could send large certificates, which the broker keeps in
// memory while the connection is open.
func limitCertificates(authorities *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		chain, bytes, parts := state.PeerCertificates, 0, 0
		for _, c := range chain {
			bytes += len(c.Raw)
			parts += countParts(c)
		}
		if bytes <= maxUnsignedBytes && parts <= maxUnsignedParts && len(chain) <= maxUnsignedCertificates {
			return nil
		}
		if err := authentication.VerifyCertificates(chain, authorities, time.Now()); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
		}
		return nil
	}
}

// countParts counts the names, extensions and entries of extensions in a certificate.
func countParts(c *x509.Certificate) int {
	return len(c.Subject.Names) + len(c.Issuer.Names) + len(c.Extensions) + len(c.PolicyMappings) +
		len(c.DNSNames) + len(c.EmailAddresses) + len(c.IPAddresses) + len(c.URIs) +
		len(c.ExtKeyUsage) + len(c.UnknownExtKeyUsage) + len(c.Policies) + len(c.PermittedEmailAddresses) +
		len(c.OCSPServer) + len(c.IssuingCertificateURL) + len(c.CRLDistributionPoints) +
		len(c.PermittedDNSDomains) + len(c.ExcludedDNSDomains) + len(c.PermittedIPRanges) + len(c.ExcludedIPRanges) +
		len(c.ExcludedEmailAddresses) + len(c.PermittedURIDomains) + len(c.ExcludedURIDomains)
}
