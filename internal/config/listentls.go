package config

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// ListenTLS is what the broker proves itself with, and what it trusts of its callers.
type ListenTLS struct {
	// Certificate has its Leaf.
	Certificate tls.Certificate
	// ClientCAs are the authorities of client certificates; nil: none are asked for.
	ClientCAs *x509.CertPool
	// MinVersion is tls.VersionTLS13 or tls.VersionTLS12.
	MinVersion uint16
}

// parseListenTLS returns nil when there is no TLS, or a part of it has a problem.
func parseListenTLS(value strictyaml.Value, reader sourceReader) *ListenTLS {
	if !value.Exists() {
		return nil
	}
	parsed := &ListenTLS{MinVersion: tls.VersionTLS13}
	switch version := value.Key("min_version"); version.Text() {
	case "", "1.3":
	case "1.2":
		parsed.MinVersion = tls.VersionTLS12
	default:
		version.Problemf("must be \"1.2\" or \"1.3\"")
	}
	if file := value.Key("client_ca_file"); file.Exists() {
		parsed.ClientCAs = reader.readPool(file)
	}
	if !value.Key("certificate_file").Exists() && !value.Key("key_file").Exists() {
		value.Problemf("must have certificate_file and key_file")
	}
	pairs := parseKeyPair(value, reader)
	if len(pairs) == 0 {
		return nil // a problem was reported
	}
	parsed.Certificate = pairs[0]
	checkServes(value.Key("certificate_file"), parsed.Certificate.Leaf)
	return parsed
}

// checkServes reports a certificate that no client accepts of a server.
func checkServes(file strictyaml.Value, leaf *x509.Certificate) {
	if len(leaf.ExtKeyUsage) == 0 && len(leaf.UnknownExtKeyUsage) == 0 {
		return
	}
	for _, usage := range leaf.ExtKeyUsage {
		if usage == x509.ExtKeyUsageServerAuth || usage == x509.ExtKeyUsageAny {
			return
		}
	}
	file.Problemf("the first certificate is not one for servers: its extended key usage lacks serverAuth")
}
