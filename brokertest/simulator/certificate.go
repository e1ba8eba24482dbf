package simulator

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
	"slices"
	"sync"
	"time"
)

// Certificates are valid from an hour before their creation, because the clocks of machines
// differ, until a year after it.
const (
	certificateLead     = time.Hour
	certificateLifetime = 365 * 24 * time.Hour
)

// certificate contains the server's certificate, and the authority that signed it.
type certificate struct {
	authority    *x509.Certificate
	authorityKey *ecdsa.PrivateKey

	mutex sync.Mutex
	hosts []string
	leaf  *tls.Certificate
}

// newCertificate creates a certificate authority, and a server certificate for the given hosts.
func newCertificate(hosts []string) (*certificate, error) {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificateTemplate("Simulator test authority", time.Now())
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	authority, err := sign(template, template, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		return nil, err
	}

	c := &certificate{authority: authority, authorityKey: authorityKey}
	return c, c.add(hosts...)
}

// add makes the server's certificate valid for more hosts, which have no ports.
func (c *certificate) add(hosts ...string) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	all := slices.Concat(c.hosts, hosts)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := certificateTemplate("Simulator", time.Now())
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	nameHosts(template, all)
	leaf, err := sign(template, c.authority, &key.PublicKey, c.authorityKey)
	if err != nil {
		return err
	}
	c.hosts, c.leaf = all, &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	return nil
}

func (c *certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.leaf, nil
}

func certificateTemplate(name string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(randomBytes(16)),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-certificateLead),
		NotAfter:     now.Add(certificateLifetime),
	}
}

func nameHosts(template *x509.Certificate, hosts []string) {
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
}

func sign(template, parent *x509.Certificate, key *ecdsa.PublicKey, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (c *certificate) serverConfig() *tls.Config {
	return &tls.Config{
		GetCertificate: c.current,
		// The handler of an account checks the certificate of a client, which needs no authority.
		ClientAuth: tls.RequestClientCert,
		MinVersion: tls.VersionTLS12,
	}
}

// CAPool returns a new pool that contains only the simulator's authority.
func (s *Simulator) CAPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.certificate.authority)
	return pool
}

// CertificatePEM returns the certificate of the simulator's authority in PEM, for other programs:
// `curl --cacert`, or the file that SSL_CERT_FILE names.
func (s *Simulator) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate.authority.Raw})
}
