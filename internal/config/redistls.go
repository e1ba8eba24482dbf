package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"

	"github.com/authmaterial/broker/internal/pemfile"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// maxCertificates is the largest file of certificates, in bytes. A system's bundle has a
// quarter of that.
const maxCertificates = 1 << 20

func newTLS() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }

// parseTLS returns nil when there is no TLS. Nothing turns the verification of servers
// off.
func parseTLS(value strictyaml.Value, reader sourceReader) *tls.Config {
	if !value.Exists() {
		return nil
	}
	config := newTLS()
	if file := value.Key("ca_file"); file.Exists() {
		config.RootCAs = reader.readPool(file)
	}
	if name := value.Key("server_name"); name.Text() != "" {
		if config.ServerName = name.Text(); !isHost(config.ServerName) {
			name.Problemf("must be a host name or an IP address, without a port")
		}
	}
	config.Certificates = parseKeyPair(value, reader)
	return config
}

// parseKeyPair returns the certificate with its key, if there is one.
func parseKeyPair(value strictyaml.Value, reader sourceReader) []tls.Certificate {
	certificateFile, keyFile := value.Key("certificate_file"), value.Key("key_file")
	switch {
	case !certificateFile.Exists() && !keyFile.Exists():
		return nil
	case !keyFile.Exists():
		value.KeyNode("certificate_file").Problemf("needs key_file")
		return nil
	case !certificateFile.Exists():
		value.KeyNode("key_file").Problemf("needs certificate_file")
		return nil
	}
	certificates := reader.readCertificates(certificateFile)
	key, ok := reader.readWhole(keyFile, maxSecretFile)
	if len(certificates) == 0 || !ok {
		return nil
	}
	pair, err := pemfile.KeyPair(certificates, keyFile.Text(), []byte(key))
	if err != nil {
		keyFile.Problemf("%s", err)
		return nil
	}
	return []tls.Certificate{pair}
}

// readPool returns the authorities in the PEM file at a given path. The set is empty when a
// problem was reported.
func (r sourceReader) readPool(given strictyaml.Value) *x509.CertPool {
	text, ok := r.readWhole(given, maxCertificates)
	if !ok {
		return x509.NewCertPool()
	}
	pool, err := pemfile.Pool(given.Text(), []byte(text))
	if err != nil {
		given.Problemf("%s", err)
		return x509.NewCertPool()
	}
	return pool
}

// readCertificates returns the certificates in the PEM file at a given path, or nil when a
// problem was reported.
func (r sourceReader) readCertificates(given strictyaml.Value) []*x509.Certificate {
	text, ok := r.readWhole(given, maxCertificates)
	if !ok {
		return nil
	}
	certificates, err := pemfile.Certificates(given.Text(), []byte(text))
	if err != nil {
		given.Problemf("%s", err)
	}
	return certificates
}

// sameTLS reports whether both are the same settings. A certificate stands for its key.
func sameTLS(a, b *tls.Config) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ServerName == b.ServerName &&
		a.RootCAs.Equal(b.RootCAs) &&
		slices.EqualFunc(a.Certificates, b.Certificates, func(a, b tls.Certificate) bool {
			return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
		})
}
