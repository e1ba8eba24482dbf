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

// maxCertificates is how many certificates are remembered with the names they prove. One
// that is forgotten is looked at again.
const maxCertificates = 4096

// MutualTLS identifies callers by their client certificates: `spiffe://DOMAIN/PATH` by a
// SPIFFE ID, else `dns:NAME` by the first DNS name, else `subject:NAME`. A certificate is
// looked at once, however many calls its connection makes.
type MutualTLS struct {
	roots *x509.CertPool
	clock clockwork.Clock
	known *lru.Cache[*x509.Certificate, access.Caller] // by leaf, without the address
	// refused are the chains of connections that were refused lately, and when. It does not keep
	// the certificates, which anybody can send, in memory.
	refused *lru.Cache[weak.Pointer[*x509.Certificate], refusal]
}

// refusal is why a chain proved nothing, and until when it is not verified again.
type refusal struct {
	err   error
	until time.Time
}

// refusedFor is how long a chain is refused without being verified again: a client can call as
// often as it likes.
const refusedFor = 10 * time.Second

// NewMutualTLS returns an authenticator for certificates that one of the roots has signed. With
// nil roots no certificate counts.
func NewMutualTLS(roots *x509.CertPool, clock clockwork.Clock) *MutualTLS {
	known, err := lru.New[*x509.Certificate, access.Caller](maxCertificates)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	refused, err := lru.New[weak.Pointer[*x509.Certificate], refusal](maxCertificates)
	if err != nil {
		panic(err) // likewise
	}
	return &MutualTLS{roots: roots, clock: clock, known: known, refused: refused}
}

// Authenticate implements Authenticator.
func (m *MutualTLS) Authenticate(_ context.Context, evidence Evidence) (access.Caller, error) {
	if len(evidence.Certificates) == 0 {
		return access.Caller{}, ErrNoEvidence
	}
	leaf := evidence.Certificates[0]
	caller, ok := m.known.Get(leaf)
	if !ok {
		var err error
		if caller, err = m.identify(evidence.Certificates); err != nil {
			return access.Caller{}, err
		}
		m.known.Add(leaf, caller)
	}
	if !clock.WallNow(m.clock).Before(caller.ExpireTime) {
		return access.Caller{}, refused("the client certificate has expired")
	}
	caller.Address = evidence.Address
	return caller, nil
}

// identify returns the caller whose name a chain proves.
func (m *MutualTLS) identify(chain []*x509.Certificate) (access.Caller, error) {
	now := m.clock.Now()
	connection := weak.Make(&chain[0])
	if before, ok := m.refused.Get(connection); ok && now.Before(before.until) {
		return access.Caller{}, before.err
	}
	err := VerifyCertificates(chain, m.roots, clock.WallNow(m.clock))
	var name string
	if err == nil {
		name, err = certificateName(chain[0])
	}
	if err != nil {
		m.refused.Add(connection, refusal{err, now.Add(refusedFor)})
		return access.Caller{}, err
	}
	return access.Caller{Name: name, Method: MethodMutualTLS, ExpireTime: chain[0].NotAfter}, nil
}

// VerifyCertificates returns an error, which quotes nothing, unless one of the roots has signed
// the first certificate of a chain for a client. Nil roots have signed nothing.
func VerifyCertificates(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	if roots == nil {
		roots = x509.NewCertPool() // x509 takes nil for the system's
	}
	between := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		between.AddCert(certificate)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: between,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return refused("the client certificate is not valid, or is not signed by an authority that counts")
	}
	return nil
}

// certificateName returns who a leaf certificate says its owner is.
func certificateName(leaf *x509.Certificate) (string, error) {
	switch {
	case len(leaf.URIs) > 1:
		return "", refused("the client certificate has more than one URI")
	case len(leaf.URIs) == 1 && strings.EqualFold(leaf.URIs[0].Scheme, "spiffe"):
		return spiffeName(leaf)
	case len(leaf.DNSNames) > 0:
		name := strings.ToLower(leaf.DNSNames[0])
		if len(name) > maxDNSName || !dnsName.MatchString(name) {
			return "", refused("the first DNS name of the client certificate is none")
		}
		return "dns:" + name, nil
	}
	return subjectName(leaf)
}

// subjectName is the name of a subject. It is given to one subject alone, and to none of
// which a part could be read as another attribute: of a repeated one pkix.Name keeps the
// last, and a pattern such as subject:*,O=Acme knows nothing of escapes.
func subjectName(leaf *x509.Certificate) (string, error) {
	var attributes pkix.RDNSequence
	if rest, err := asn1.Unmarshal(leaf.RawSubject, &attributes); err != nil || len(rest) > 0 || len(attributes) == 0 {
		return "", refused("the client certificate names nobody")
	}
	seen := map[string]bool{}
	for _, set := range attributes {
		if len(set) != 1 || seen[set[0].Type.String()] {
			return "", refused("the subject of the client certificate has an attribute twice, or two in one: use a DNS name or a SPIFFE ID")
		}
		seen[set[0].Type.String()] = true
	}
	subject := leaf.Subject.String()
	switch {
	case strings.Contains(subject, `\`):
		return "", refused("the subject of the client certificate has a character that has to be escaped: use a DNS name or a SPIFFE ID")
	case !isName(subject):
		return "", refused("the client certificate names nobody")
	}
	return "subject:" + subject, nil
}

// dnsName is what a DNS name of a certificate looks like, in lower case.
var dnsName = regexp.MustCompile(`^(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$`)

// maxDNSName is how long one is at most, in bytes.
const maxDNSName = 253

// spiffeName is the name that an X.509-SVID proves. Those of authorities prove none.
func spiffeName(leaf *x509.Certificate) (string, error) {
	const signs = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	id, err := spiffeid.FromURI(leaf.URIs[0])
	if err != nil || id.Path() == "" || len(id.String()) > maxName || leaf.IsCA || leaf.KeyUsage&signs != 0 {
		return "", refused("the client certificate is no X.509-SVID of a workload")
	}
	return id.String(), nil
}
