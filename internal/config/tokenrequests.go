package config

import (
	"crypto/x509"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// TokenRequests says how token requests reach the providers.
type TokenRequests struct {
	// RootCAs are whom providers' certificates are traced back to; nil: the system's.
	RootCAs *x509.CertPool
}

// Same reports whether both mean the same.
func (r TokenRequests) Same(other TokenRequests) bool {
	if r.RootCAs == nil || other.RootCAs == nil {
		return r.RootCAs == other.RootCAs
	}
	return r.RootCAs.Equal(other.RootCAs)
}

// parseTokenRequests adds the file's certificates to the system's.
func parseTokenRequests(value strictyaml.Value, reader sourceReader) TokenRequests {
	file := value.Key("ca_file")
	if !file.Exists() {
		return TokenRequests{}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without any
	}
	for _, certificate := range reader.readCertificates(file) {
		pool.AddCert(certificate)
	}
	return TokenRequests{RootCAs: pool}
}
