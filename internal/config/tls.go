package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"

	"github.com/authmaterial/broker/internal/pemfile"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// maxCertificates is the largest size of a file of certificates, in bytes. A system's certificate
// bundle usually has a quarter of this size.
const maxCertificates = 1 << 20

// readKeyPair returns nil if neither file is configured or a problem was reported.
func (p *parser) readKeyPair(section yamlfile.Value) []tls.Certificate {
	certificateFile, keyFile := section.Get("certificate_file"), section.Get("key_file")
	certificates := p.readCertificates(certificateFile)
	key, ok := p.readPath(keyFile, maxSecretFile)
	section.Needs("certificate_file", "key_file")
	section.Needs("key_file", "certificate_file")
	if len(certificates) == 0 || !ok {
		return nil
	}
	pair, err := pemfile.KeyPair(certificates, keyFile.Text(yamlfile.MaxText), []byte(key))
	if err != nil {
		keyFile.Problemf("%s", err)
		return nil
	}
	return []tls.Certificate{pair}
}

// readPool returns the certificate authorities in a file. The returned pool is nil if no file is
// configured, and empty if a problem was reported.
func (p *parser) readPool(file yamlfile.Value) *x509.CertPool {
	if !file.Exists() {
		return nil
	}
	pool := x509.NewCertPool()
	for _, certificate := range p.readCertificates(file) {
		pool.AddCert(certificate)
	}
	return pool
}

func (p *parser) readCertificates(file yamlfile.Value) []*x509.Certificate {
	content, ok := p.readPath(file, maxCertificates)
	if !ok {
		return nil
	}
	certificates, err := pemfile.Certificates(file.Text(yamlfile.MaxText), []byte(content))
	if err != nil {
		file.Problemf("%s", err)
	}
	return certificates
}

// sameTLS compares settings and certificates, but not private keys.
func sameTLS(a, b *tls.Config) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ServerName == b.ServerName && a.RootCAs.Equal(b.RootCAs) &&
		slices.EqualFunc(a.Certificates, b.Certificates, func(a, b tls.Certificate) bool {
			return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
		})
}
