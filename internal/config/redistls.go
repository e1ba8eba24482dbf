package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"

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
		config.RootCAs = x509.NewCertPool()
		_, certificates := reader.readCertificates(file)
		for _, certificate := range certificates {
			config.RootCAs.AddCert(certificate)
		}
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
	encoded, certificates := reader.readCertificates(certificateFile)
	key, ok := reader.readWhole(keyFile, maxSecretFile)
	if len(certificates) == 0 || !ok {
		return nil
	}
	pair, err := tls.X509KeyPair([]byte(encoded), []byte(key))
	if err != nil {
		keyFile.Problemf("the file does not hold the private key of the certificate in PEM, without a password")
		return nil
	}
	return []tls.Certificate{pair}
}

// readCertificates returns the certificates in the PEM file at a given path, and its text,
// or reports what else is there.
func (r sourceReader) readCertificates(given strictyaml.Value) (text string, certificates []*x509.Certificate) {
	text, ok := r.readWhole(given, maxCertificates)
	if !ok {
		return "", nil
	}
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			given.Problemf("the file holds something else than certificates in PEM: block %d", len(certificates)+1)
			return "", nil
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) == 0 {
		given.Problemf("the file holds no certificate in PEM")
	}
	return text, certificates
}

// sameTLS says whether both are the same settings. A certificate stands for its key.
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
