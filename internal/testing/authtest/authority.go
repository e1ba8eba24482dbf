package authtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"time"
)

// Authority issues certificates.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	now         time.Time
}

// NewAuthority returns a certificate authority whose certificates are valid from an hour before
// `now` until an hour after `now`.
func NewAuthority(name string, now time.Time) *Authority { return newAuthority(name, nil, now) }

// Between returns an intermediate certificate authority, whose certificate is signed by the
// authority `a`.
func (a *Authority) Between(name string) *Authority { return newAuthority(name, a, a.now) }

func newAuthority(name string, by *Authority, now time.Time) *Authority {
	a := &Authority{key: newKey(), now: now}
	if by == nil {
		by = a
	}
	a.Certificate = by.sign(a.key, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// sign creates and signs a certificate from a template, which may omit the validity period and the
// extended key usage.
func (a *Authority) sign(key *ecdsa.PrivateKey, template x509.Certificate) *x509.Certificate {
	template.SerialNumber = must(rand.Int(rand.Reader, big.NewInt(1<<62)))
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = a.now.Add(-time.Hour), a.now.Add(time.Hour)
	}
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	}
	parent := a.Certificate
	if parent == nil {
		parent = &template
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, a.key))))
}

// Issue creates a certificate from a template, with its key and a chain that includes the
// authority's certificate.
func (a *Authority) Issue(template x509.Certificate) tls.Certificate {
	key := newKey()
	leaf := a.sign(key, template)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, a.Certificate.Raw}, PrivateKey: key, Leaf: leaf}
}

// IssueLoopback returns a certificate for a server on a loopback address.
func (a *Authority) IssueLoopback() tls.Certificate {
	return a.Issue(x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}})
}

// IssueSPIFFE returns a client certificate with a SPIFFE ID.
func (a *Authority) IssueSPIFFE(id string) tls.Certificate {
	return a.Issue(x509.Certificate{URIs: URIs(id)})
}

// URIs parses URIs, for the field URIs of a certificate template.
func URIs(texts ...string) []*url.URL {
	var all []*url.URL
	for _, text := range texts {
		all = append(all, must(url.Parse(text)))
	}
	return all
}

// Pool returns a pool with the certificates of the given authorities.
func Pool(authorities ...*Authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range authorities {
		pool.AddCert(a.Certificate)
	}
	return pool
}

// PEM returns the authority's certificate in PEM.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.Certificate.Raw) }

// CertificatePEM returns a chain of certificates in PEM.
func CertificatePEM(certificate tls.Certificate) []byte {
	var text []byte
	for _, data := range certificate.Certificate {
		text = append(text, encode("CERTIFICATE", data)...)
	}
	return text
}

// KeyPEM returns the private key of a certificate in PEM.
func KeyPEM(certificate tls.Certificate) []byte {
	return encode("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)))
}

func encode(kind string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})
}
