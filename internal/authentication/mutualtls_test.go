package authentication_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

func commonName(value string) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: value}
}

func organization(value string) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: value}
}

// inOne encodes a subject whose attributes are all in one relative distinguished name.
func inOne(attributes ...pkix.AttributeTypeAndValue) []byte {
	encoded, err := asn1.Marshal(pkix.RDNSequence{attributes})
	if err != nil {
		panic(err)
	}
	return encoded
}

func TestMutualTLSNames(t *testing.T) {
	const (
		manyURIs = "the client certificate has more than one URI"
		noSVID   = "the client certificate is not an X.509-SVID of a workload"
		noDNS    = "the first DNS name of the client certificate is not valid"
		nobody   = "the client certificate has no usable name: use a DNS name or a SPIFFE ID"
		twice    = "the subject of the client certificate repeats an attribute, or combines several attributes in one part: use a DNS name or a SPIFFE ID"
		escaped  = "the subject of the client certificate has a character that must be escaped: use a DNS name or a SPIFFE ID"
	)
	ca := authtest.NewAuthority("ca", now)
	mutual := authentication.NewMutualTLS(authtest.Pool(ca), clockwork.NewFakeClockAt(now))
	mailer := pkix.Name{CommonName: "mailer", Organization: []string{"Growth"}}
	for name, test := range map[string]struct {
		template      x509.Certificate
		want, message string
	}{
		"SPIFFE ID":              {x509.Certificate{URIs: authtest.URIs("spiffe://example.test/ns/growth/sa/mailer"), DNSNames: []string{"a.test"}, Subject: mailer}, "spiffe://example.test/ns/growth/sa/mailer", ""},
		"DNS name":               {x509.Certificate{DNSNames: []string{"Mailer.Example.TEST", "other.test"}, Subject: mailer}, "dns:mailer.example.test", ""},
		"wildcard":               {x509.Certificate{DNSNames: []string{"*.example.test"}}, "dns:*.example.test", ""},
		"DNS name, other URI":    {x509.Certificate{URIs: authtest.URIs("https://example.test"), DNSNames: []string{"a.test"}}, "dns:a.test", ""},
		"subject":                {x509.Certificate{Subject: mailer}, "subject:CN=mailer,O=Growth", ""},
		"subject, other URI":     {x509.Certificate{URIs: authtest.URIs("urn:a"), Subject: mailer}, "subject:CN=mailer,O=Growth", ""},
		"two SPIFFE IDs":         {x509.Certificate{URIs: authtest.URIs("spiffe://example.test/a", "spiffe://example.test/b")}, "", manyURIs},
		"SPIFFE ID and URI":      {x509.Certificate{URIs: authtest.URIs("spiffe://example.test/a", "https://example.test")}, "", manyURIs},
		"two other URIs":         {x509.Certificate{URIs: authtest.URIs("urn:a", "urn:b"), DNSNames: []string{"a.test"}}, "", manyURIs},
		"trust domain":           {x509.Certificate{URIs: authtest.URIs("spiffe://example.test"), DNSNames: []string{"a.test"}}, "", noSVID},
		"SPIFFE ID with a port":  {x509.Certificate{URIs: authtest.URIs("spiffe://example.test:1/a"), DNSNames: []string{"a.test"}}, "", noSVID},
		"SPIFFE ID with a query": {x509.Certificate{URIs: authtest.URIs("spiffe://example.test/a?b")}, "", noSVID},
		"SPIFFE ID with ..":      {x509.Certificate{URIs: authtest.URIs("spiffe://example.test/a/../b")}, "", noSVID},
		"SPIFFE in capitals":     {x509.Certificate{URIs: authtest.URIs("spiffe://Example.test/a"), Subject: mailer}, "", noSVID},
		"authority as workload":  {x509.Certificate{URIs: authtest.URIs("spiffe://example.test/a"), IsCA: true, BasicConstraintsValid: true}, "", noSVID},
		"signer as workload":     {x509.Certificate{URIs: authtest.URIs("spiffe://example.test/a"), KeyUsage: x509.KeyUsageCRLSign}, "", noSVID},
		"a long SPIFFE ID":       {x509.Certificate{URIs: authtest.URIs("spiffe://example.test/" + strings.Repeat("a", 2048))}, "", noSVID},
		"odd DNS name":           {x509.Certificate{DNSNames: []string{"a test"}, Subject: mailer}, "", noDNS},
		"a long DNS name":        {x509.Certificate{DNSNames: []string{strings.Repeat("a.", 126) + "aa"}, Subject: mailer}, "", noDNS},
		"nobody":                 {x509.Certificate{}, "", nobody},
		"two common names":       {x509.Certificate{Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{commonName("evil"), commonName("mailer")}}}, "", twice},
		"two organizations":      {x509.Certificate{Subject: pkix.Name{CommonName: "a", Organization: []string{"b", "c"}}}, "", twice},
		"two attributes in one":  {x509.Certificate{RawSubject: inOne(commonName("a"), organization("b"))}, "", twice},
		"another order":          {x509.Certificate{Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{commonName("mailer"), organization("Growth")}}}, "subject:CN=mailer,O=Growth", ""},
		"a comma":                {x509.Certificate{Subject: pkix.Name{CommonName: "evil,O=Growth"}}, "", escaped},
		"a plus":                 {x509.Certificate{Subject: pkix.Name{CommonName: "evil+O=Growth"}}, "", escaped},
		"a space at the end":     {x509.Certificate{Subject: pkix.Name{CommonName: "mailer "}}, "", escaped},
		"two lines":              {x509.Certificate{Subject: pkix.Name{CommonName: "a\nb"}}, "", nobody},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := ca.Issue(test.template).Leaf
			for range 2 {
				caller, err := mutual.Authenticate(t.Context(), authentication.Evidence{Certificates: []*x509.Certificate{leaf, ca.Certificate}})
				if test.want == "" {
					wantRefused(t, err, fault.CallerUnauthenticated, test.message)
				} else if want := (access.Caller{Name: test.want, ExpireTime: leaf.NotAfter}); err != nil || !reflect.DeepEqual(caller, want) {
					t.Errorf("the caller is %+v (%v), want %+v", caller, err, want)
				}
			}
		})
	}
	if _, err := mutual.Authenticate(t.Context(), authentication.Evidence{}); !errors.Is(err, authentication.ErrNoEvidence) {
		t.Errorf("the error without certificates is %v, want ErrNoEvidence", err)
	}
}

// TestMutualTLSRoots checks that certificates are accepted only if a trusted authority has signed
// them, and that the certificate of a server is refused.
func TestMutualTLSRoots(t *testing.T) {
	const invalid = "the client certificate is not valid, or not signed by a trusted authority"
	first, second := authtest.NewAuthority("first", now), authtest.NewAuthority("second", now)
	between := first.Between("between")
	leaf := between.Issue(x509.Certificate{DNSNames: []string{"a.test"}}).Leaf
	evidence := authentication.Evidence{Certificates: []*x509.Certificate{leaf, between.Certificate, first.Certificate}}
	for name, test := range map[string]struct {
		roots   *x509.CertPool
		trusted bool
	}{
		"its own":  {authtest.Pool(first, second), true},
		"not made": {nil, false},
		"another":  {authtest.Pool(second), false},
		"none":     {authtest.Pool(), false},
	} {
		caller, err := authentication.NewMutualTLS(test.roots, clockwork.NewFakeClockAt(now)).Authenticate(t.Context(), evidence)
		if test.trusted {
			if err != nil || caller.Name != "dns:a.test" {
				t.Errorf("%s: the caller is %q (%v)", name, caller.Name, err)
			}
			continue
		}
		wantRefused(t, err, fault.CallerUnauthenticated, invalid)
	}
	server := *leaf
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	_, err := authentication.NewMutualTLS(authtest.Pool(first), clockwork.NewFakeClockAt(now)).Authenticate(t.Context(),
		authentication.Evidence{Certificates: []*x509.Certificate{&server, between.Certificate, first.Certificate}})
	wantRefused(t, err, fault.CallerUnauthenticated, invalid)
}

// TestMutualTLSEnds lets a client certificate expire while its connection stays open.
func TestMutualTLSEnds(t *testing.T) {
	clock := clockwork.NewFakeClockAt(now)
	ca := authtest.NewAuthority("ca", now)
	mutual := authentication.NewMutualTLS(authtest.Pool(ca), clock)
	evidence := authentication.Evidence{Certificates: []*x509.Certificate{ca.Issue(x509.Certificate{DNSNames: []string{"a.test"}}).Leaf, ca.Certificate}}
	clock.Advance(time.Hour - time.Second)
	if _, err := mutual.Authenticate(t.Context(), evidence); err != nil {
		t.Error(err)
	}
	clock.Advance(time.Second)
	_, err := mutual.Authenticate(t.Context(), evidence)
	wantRefused(t, err, fault.CallerUnauthenticated, "the client certificate has expired")
}

// TestMutualTLSRemembersRefusals checks that a refused certificate chain is not verified again for
// 10 seconds.
func TestMutualTLSRemembersRefusals(t *testing.T) {
	ca, other := authtest.NewAuthority("ca", now), authtest.NewAuthority("other", now)
	for name, leaf := range map[string]*x509.Certificate{
		"not trusted":    other.Issue(x509.Certificate{DNSNames: []string{"a.test"}}).Leaf,
		"no usable name": ca.Issue(x509.Certificate{URIs: authtest.URIs("spiffe://example.test/a", "spiffe://example.test/b")}).Leaf,
	} {
		clock := clockwork.NewFakeClockAt(now)
		mutual := authentication.NewMutualTLS(authtest.Pool(ca), clock)
		evidence := authentication.Evidence{Certificates: []*x509.Certificate{leaf}}
		_, first := mutual.Authenticate(t.Context(), evidence)
		if first == nil {
			t.Errorf("%s: not refused", name)
		}
		if _, again := mutual.Authenticate(t.Context(), evidence); again != first { //nolint:errorlint // the same pointer
			t.Errorf("%s: the refusal is not remembered", name)
		}
		clock.Advance(10 * time.Second)
		if _, later := mutual.Authenticate(t.Context(), evidence); later == nil || later == first { //nolint:errorlint // another pointer
			t.Errorf("%s: the error after ten seconds is %v, want a new error", name, later)
		}
	}
}

// FuzzCertificateName checks the names of callers with client certificates: each name has the right
// kind, is a single line, and is not too long. If a certificate has a SPIFFE ID, the name must be
// of no other kind.
func FuzzCertificateName(f *testing.F) {
	f.Add("spiffe://example.test/a", "a.test", "mailer")
	f.Add("https://example.test", "", "")
	f.Add("SPIFFE://example.test/%61", "*.a.test", "a,O=b+C=d\\")
	f.Add("SPIFFE://0/0#", "0", "0") // net/url drops an empty fragment
	f.Add("spiffe:/a", "a\x00.test", "spiffe://example.test/a")
	f.Fuzz(func(t *testing.T, uri, dns, subject string) {
		leaf := &x509.Certificate{NotAfter: now.Add(time.Hour), Subject: pkix.Name{CommonName: subject}}
		leaf.RawSubject, _ = asn1.Marshal(leaf.Subject.ToRDNSequence())
		if parsed, err := url.Parse(uri); err == nil && uri != "" {
			leaf.URIs = []*url.URL{parsed}
		}
		if dns != "" {
			leaf.DNSNames = []string{dns}
		}
		called, err := authentication.CertificateName(leaf)
		if err != nil {
			wantRefused(t, err, fault.CallerUnauthenticated, "")
			return
		}
		kind, name, _ := strings.Cut(called, ":")
		spiffe := len(leaf.URIs) > 0 && strings.EqualFold(leaf.URIs[0].Scheme, "spiffe")
		switch {
		case spiffe != (kind == "spiffe"), kind == "dns" && dns == "", kind == "subject" && dns != "",
			kind != "spiffe" && kind != "dns" && kind != "subject":
			t.Errorf("the certificate with URI %q, DNS name %q and subject %q has the caller name %q", uri, dns, subject, called)
		case name == "" || len(name) > 2048 || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
			t.Errorf("the caller name is %q", called)
		case kind == "spiffe" && called != leaf.URIs[0].String():
			t.Errorf("the certificate with URI %q has the caller name %q", uri, called)
		}
	})
}
