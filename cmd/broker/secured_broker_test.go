package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// secured is a folder with certificates and tokens, for `broker serve` processes that require a
// certificate or a token. Callers have grants only for the credential pendo.
type secured struct {
	*testing.T
	folder    string
	authority *authtest.Authority
	token     secret.Text // the static token of the caller `token:mailer`
}

// newSecured creates a folder with certificates and tokens, and makes it the current folder. Each
// certificate NAME.pem has a key NAME.key. The certificates broker.pem, named.pem, expired.pem
// and future.pem are for brokers; client.pem, nobody.pem, foreign.pem and old.pem are for
// callers; ca.pem and other-ca.pem belong to authorities.
func newSecured(t *testing.T) secured {
	t.Helper()
	for _, flag := range connectionFlags {
		t.Setenv(variable(flag), "")
	}
	s := secured{T: t, folder: t.TempDir(), authority: authtest.NewAuthority("ca", time.Now()), token: authentication.GenerateToken()}
	other := authtest.NewAuthority("other", time.Now())
	loopback := func(from, to time.Duration) tls.Certificate {
		return s.authority.Issue(x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: s.authority.IssueLoopback().Leaf.IPAddresses,
			NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to)})
	}
	for name, certificate := range map[string]tls.Certificate{
		"broker":  s.authority.IssueLoopback(),
		"named":   s.authority.Issue(x509.Certificate{DNSNames: []string{"broker.test"}}),
		"expired": loopback(-2*time.Hour, -time.Hour),
		"future":  loopback(time.Hour, 2*time.Hour),
		"client":  s.authority.IssueSPIFFE("spiffe://test/mailer"),
		"nobody":  s.authority.IssueSPIFFE("spiffe://test/nobody"),
		"foreign": other.IssueSPIFFE("spiffe://test/mailer"),
		"old": s.authority.Issue(x509.Certificate{URIs: authtest.URIs("spiffe://test/mailer"),
			NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}),
	} {
		s.write(name+".pem", authtest.CertificatePEM(certificate))
		s.write(name+".key", authtest.KeyPEM(certificate))
	}
	s.write("ca.pem", s.authority.PEM())
	s.write("other-ca.pem", other.PEM())
	s.write("token", []byte(s.token.Reveal()+"\n"))
	s.write("other-token", []byte(authentication.GenerateToken().Reveal()))
	t.Chdir(s.folder)
	return s
}

func (s secured) write(name string, content []byte) {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, name), content, 0o600); err != nil {
		s.Fatal(err)
	}
}

const securedConfig = `
listen: {grpc: %q, http: "127.0.0.1:0", %s}
authentication: {tokens: [{name: mailer, sha256: %q}]}
credentials:
  - {id: pendo, provider: pendo, auth_method: api_key, values: {api_key: {value: canary}}}
  - {id: pulsedive, provider: pulsedive, auth_method: api_key, values: {api_key: {value: canary}}}
grants:
  - {callers: ["token:mailer", "spiffe://test/mailer"], credentials: [pendo]}
`

// serve runs a broker whose section `listen` has the given additional settings, and returns the
// broker's addresses.
func (s secured) serve(listen string) (grpc, http string) { return s.serveOn("127.0.0.1:0", listen) }

func (s secured) serveOn(address, listen string) (grpc, http string) {
	s.Helper()
	file, err := os.CreateTemp(s.folder, "broker*.yaml")
	if err != nil {
		s.Fatal(err)
	}
	_, err = fmt.Fprintf(file, securedConfig, address, listen, authentication.HashToken(s.token).String())
	if err != nil || file.Close() != nil {
		s.Fatal(err)
	}
	p, err := startProcess(s.folder, nil, "broker", "serve", "--config", file.Name())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(p.kill)
	match, err := p.await(&p.stderr, regexp.MustCompile(`msg=serving \S+ grpc=(\S+) http=(\S+)`))
	if err != nil {
		s.Fatalf("%v\n%s", err, p.stderr.String())
	}
	return match[1], match[2]
}

// listenTLS returns TLS settings with which the broker presents the named certificate and asks
// for client certificates.
func listenTLS(certificate string) string {
	return fmt.Sprintf("tls: {certificate_file: %[1]s.pem, key_file: %[1]s.key, client_ca_file: ca.pem}", certificate)
}
