package brokertest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// connCaller is the SPIFFE ID of the caller that uses the connection from Conn with TLS.
const connCaller = "spiffe://brokertest/conn"

// WithTLS makes the broker listen with TLS, at the address that Address returns, and authenticate
// its callers by certificates from ClientCertificate, or in a way that the section
// `authentication` of the configuration from WithConfig allows. Callers may then use only the
// credentials that the section `grants` of that configuration allows. The connection from Conn
// authenticates with a certificate for the name spiffe://brokertest/conn.
//
// Certificates are valid for an hour, both by the real clock and by the clock that WithClock
// sets.
func WithTLS() Option { return optionFunc(func(s *settings) { s.tls = true }) }

type secured struct {
	folder    string
	authority *authtest.Authority
	address   string
}

// newSecured creates the certificates of a broker with TLS, and writes them and their keys to
// files.
func newSecured(t testing.TB) *secured {
	t.Helper()
	s := &secured{folder: t.TempDir(), authority: authtest.NewAuthority("brokertest", time.Now())}
	write(t, s.path("ca.pem"), s.authority.PEM())
	certificate := s.authority.IssueLoopback()
	write(t, s.path("broker.pem"), authtest.CertificatePEM(certificate))
	write(t, s.path("broker.key"), authtest.KeyPEM(certificate))
	return s
}

func (s *secured) path(name string) string { return filepath.Join(s.folder, name) }

// listen returns the section `listen` of the configuration.
func (s *secured) listen() map[string]any {
	return map[string]any{"tls": map[string]string{
		"certificate_file": s.path("broker.pem"), "key_file": s.path("broker.key"), "client_ca_file": s.path("ca.pem"),
	}}
}

func (s *secured) issue(t testing.TB, spiffeID string) (certificateFile, keyFile string) {
	t.Helper()
	folder, err := os.MkdirTemp(s.folder, "client")
	if err != nil {
		t.Fatalf("brokertest: %v", err)
	}
	certificate := s.authority.IssueSPIFFE(spiffeID)
	certificateFile, keyFile = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	write(t, certificateFile, authtest.CertificatePEM(certificate))
	write(t, keyFile, authtest.KeyPEM(certificate))
	return certificateFile, keyFile
}

// open starts the broker's listener, and returns the TLS credentials with which Conn connects.
func (s *secured) open(t testing.TB) (net.Listener, credentials.TransportCredentials) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("brokertest: %v", err)
	}
	s.address = listener.Addr().String()
	files := client.TLS{CAFile: s.path("ca.pem")}
	files.CertificateFile, files.KeyFile = s.issue(t, connCaller)
	transport, err := files.Credentials()
	if err != nil {
		t.Fatalf("brokertest: %v", err)
	}
	return listener, transport
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatalf("brokertest: %v", err)
	}
}

// Address returns the address of a broker with TLS, a loopback address with a port. Without the
// option WithTLS, the address is empty.
func (b *Broker) Address() string {
	if b.secured == nil {
		return ""
	}
	return b.secured.address
}

// CAFile returns the path of the PEM file with the authority that signs the broker's certificate.
// Without the option WithTLS, the path is empty.
func (b *Broker) CAFile() string {
	if b.secured == nil {
		return ""
	}
	return b.secured.path("ca.pem")
}

// ClientCertificate issues a certificate for a caller, and returns the paths of the certificate
// and its key, in PEM. It requires WithTLS.
func (b *Broker) ClientCertificate(t testing.TB, spiffeID string) (certificateFile, keyFile string) {
	t.Helper()
	if b.secured == nil {
		t.Fatal("brokertest: ClientCertificate needs WithTLS")
	}
	return b.secured.issue(t, spiffeID)
}
