package authentication

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"regexp"
	"strings"
	"time"
	"weak"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jonboulle/clockwork"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/clock"
)

// MutualTLS identifies callers by their client certificates. If the certificate has a SPIFFE ID,
// the name of the caller is `spiffe://DOMAIN/PATH`. If the certificate has a DNS name but no SPIFFE
// ID, the caller's name is `dns:NAME` with the first DNS name. The caller's name is `subject:NAME`
// if the certificate has neither. The certificate chain of a connection is verified once for all
// calls of the connection.
type MutualTLS struct {
	roots *x509.CertPool
	clock clockwork.Clock
	// The map `known` has the outcome of each connection's verification. The keys of the map point
	// to the connections' first certificates. The pointers are weak, so that certificates do not
	// stay in memory after the connection has ended: anybody can send certificates.
	known *lru.Cache[weak.Pointer[*x509.Certificate], verifiedChain]
}

// InvalidCertificate is the message about a client certificate that cannot be verified.
// InvalidCertificate is used in errors, and in the log line about a failed TLS handshake.
const InvalidCertificate = "the client certificate is not valid, or not signed by a trusted authority"

type verifiedChain struct {
	caller access.Caller
	err    error     // the reason why the chain is refused; nil if the chain identifies the caller
	until  time.Time // the time at which a refusal is forgotten
}

// refusedFor is how long a refused certificate chain is not verified again. This period limits how
// often a client can make the broker verify a chain.
const refusedFor = 10 * time.Second

// NewMutualTLS returns an authenticator for certificates that one of the roots has signed. With nil
// roots, no certificate is accepted.
func NewMutualTLS(roots *x509.CertPool, clock clockwork.Clock) *MutualTLS {
	return &MutualTLS{roots: roots, clock: clock, known: newCache[weak.Pointer[*x509.Certificate], verifiedChain]()}
}

// Authenticate implements Authenticator.
func (m *MutualTLS) Authenticate(_ context.Context, evidence Evidence) (access.Caller, error) {
	if len(evidence.Certificates) == 0 {
		return access.Caller{}, ErrNoEvidence
	}
	connection := weak.Make(&evidence.Certificates[0])
	chain, ok := m.known.Get(connection)
	if !ok || chain.err != nil && !m.clock.Now().Before(chain.until) {
		chain = m.verify(evidence.Certificates)
		m.known.Add(connection, chain)
	}
	if chain.err == nil && !clock.WallNow(m.clock).Before(chain.caller.ExpireTime) {
		return access.Caller{}, refused("the client certificate has expired")
	}
	return chain.caller, chain.err
}

func (m *MutualTLS) verify(chain []*x509.Certificate) verifiedChain {
	err := VerifyCertificates(chain, m.roots, clock.WallNow(m.clock))
	name := ""
	if err == nil {
		name, err = certificateName(chain[0])
	}
	if err != nil {
		return verifiedChain{err: err, until: m.clock.Now().Add(refusedFor)}
	}
	return verifiedChain{caller: access.Caller{Name: name, ExpireTime: chain[0].NotAfter}}
}

// VerifyCertificates returns an error if no root has signed the first certificate of a chain for
// use by a client. With nil roots, no certificate is accepted. The error quotes none of the
// certificates.
func VerifyCertificates(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	if roots == nil {
		roots = x509.NewCertPool() // to package x509, nil would mean the roots that the system trusts
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return refused(InvalidCertificate)
	}
	return nil
}

func certificateName(leaf *x509.Certificate) (string, error) {
	switch {
	case len(leaf.URIs) > 1:
		return "", refused("the client certificate has more than one URI")
	case len(leaf.URIs) == 1 && strings.EqualFold(leaf.URIs[0].Scheme, "spiffe"):
		return spiffeName(leaf)
	case len(leaf.DNSNames) > 0:
		name := strings.ToLower(leaf.DNSNames[0])
		if len(name) > maxDNSName || !dnsName.MatchString(name) {
			return "", refused("the first DNS name of the client certificate is not valid")
		}
		return "dns:" + name, nil
	}
	return subjectName(leaf)
}

// dnsName matches a lower-case DNS name of a certificate. The name may start with a wildcard.
var dnsName = regexp.MustCompile(`^(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$`)

// maxDNSName is the maximum length of a DNS name in bytes.
const maxDNSName = 253

// spiffeName returns the SPIFFE ID of an X.509-SVID, and refuses certificate authorities.
func spiffeName(leaf *x509.Certificate) (string, error) {
	const signs = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	id, err := spiffeid.FromURI(leaf.URIs[0])
	if err != nil || id.Path() == "" || len(id.String()) > maxName || leaf.IsCA || leaf.KeyUsage&signs != 0 {
		return "", refused("the client certificate is not an X.509-SVID of a workload")
	}
	return id.String(), nil
}

// subjectName returns the text of a certificate's subject. A subject is refused if its text could
// be confused with the text of another subject. The text can be ambiguous because pkix.Name keeps
// only the last value of a repeated attribute, and because a pattern such as subject:*,O=Acme does
// not recognize escaped characters.
func subjectName(leaf *x509.Certificate) (string, error) {
	var attributes pkix.RDNSequence
	if rest, err := asn1.Unmarshal(leaf.RawSubject, &attributes); err != nil || len(rest) > 0 || len(attributes) == 0 {
		return "", refused("the client certificate has no usable name: use a DNS name or a SPIFFE ID")
	}
	seen := map[string]bool{}
	for _, set := range attributes {
		if len(set) != 1 || seen[set[0].Type.String()] {
			return "", refused("the subject of the client certificate repeats an attribute, or combines several attributes in one part: use a DNS name or a SPIFFE ID")
		}
		seen[set[0].Type.String()] = true
	}
	subject := leaf.Subject.String()
	switch {
	case strings.Contains(subject, `\`):
		return "", refused("the subject of the client certificate has a character that must be escaped: use a DNS name or a SPIFFE ID")
	case !IsName(subject):
		return "", refused("the client certificate has no usable name: use a DNS name or a SPIFFE ID")
	}
	return "subject:" + subject, nil
}
