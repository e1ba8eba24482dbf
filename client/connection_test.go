package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/credentials/local"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// `place` is a test server together with the files that its client reads.
type place struct {
	*testing.T
	address   string
	authority *authtest.Authority
	seen      chan proof
	files     client.TLS
	token     string // path of the file with the token
}

// `proof` contains what a call sent to authenticate its caller.
type proof struct {
	authorization []string
	serial        string // serial number of the client certificate
}

// `answers` is a test server that reports to the test how each call was authenticated.
type answers struct {
	grpc_health_v1.UnimplementedHealthServer
	seen chan proof
}

func (a answers) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	from, _ := peer.FromContext(ctx)
	brought := proof{authorization: metadata.ValueFromIncomingContext(ctx, "authorization")}
	if info, ok := from.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
		brought.serial = info.State.PeerCertificates[0].SerialNumber.String()
	}
	a.seen <- brought
	return &grpc_health_v1.HealthCheckResponse{}, nil
}

// newPlace starts a test server that listens on a TCP port with TLS, or on a Unix socket.
func newPlace(t *testing.T, withTLS bool) place {
	t.Helper()
	folder, err := os.MkdirTemp("", "client") // a short path, because the paths of sockets are limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	p := place{T: t, authority: authtest.NewAuthority("ca", time.Now()), seen: make(chan proof, 1), token: filepath.Join(folder, "token")}
	p.files = client.TLS{CAFile: filepath.Join(folder, "ca.pem"), CertificateFile: filepath.Join(folder, "me.pem"), KeyFile: filepath.Join(folder, "me.key")}
	network, address, transport := "unix", filepath.Join(folder, "socket"), insecure.NewCredentials()
	if withTLS {
		network, address = "tcp", "127.0.0.1:0"
		transport = credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{p.authority.IssueLoopback()},
			ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: authtest.Pool(p.authority),
		})
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	p.address = listener.Addr().String()
	if !withTLS {
		p.address = "unix://" + address
	}
	server := grpc.NewServer(grpc.Creds(transport))
	grpc_health_v1.RegisterHealthServer(server, answers{seen: p.seen})
	go server.Serve(listener) //nolint:errcheck // an error of Serve does not matter: if the server cannot run, the test's calls fail
	t.Cleanup(server.Stop)
	p.write(p.files.CAFile, p.authority.PEM())
	p.renew(p.authority)
	return p
}

func (p place) write(path string, content []byte) {
	p.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		p.Fatal(err)
	}
}

// renew writes a new client certificate, and returns its serial number.
func (p place) renew(by *authtest.Authority) string {
	p.Helper()
	certificate := by.IssueSPIFFE("spiffe://test/me")
	p.write(p.files.CertificateFile, authtest.CertificatePEM(certificate))
	p.write(p.files.KeyFile, authtest.KeyPEM(certificate))
	return certificate.Leaf.SerialNumber.String()
}

func (p place) connect() *grpc.ClientConn {
	p.Helper()
	transport, err := p.files.Credentials()
	if err != nil {
		p.Fatal(err)
	}
	return p.dial(transport)
}

func (p place) dial(transport credentials.TransportCredentials) *grpc.ClientConn {
	p.Helper()
	connection, err := grpc.NewClient(p.address, grpc.WithTransportCredentials(transport), grpc.WithPerRPCCredentials(client.TokenFile(p.token)))
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = connection.Close() })
	return connection
}

func call(t *testing.T, connection *grpc.ClientConn) error {
	t.Helper()
	_, err := grpc_health_v1.NewHealthClient(connection).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	return err
}

// `want` makes a call that must send the given token, and returns what the call sent to
// authenticate its caller.
func (p place) want(connection *grpc.ClientConn, token string) proof {
	p.Helper()
	if err := call(p.T, connection); err != nil {
		p.Fatal(err)
	}
	brought := <-p.seen
	if len(brought.authorization) != 1 || brought.authorization[0] != "Bearer "+token {
		p.Errorf("the call's headers `authorization` are %q, want one header with the token %q", brought.authorization, token)
	}
	return brought
}

// TestRenewedFiles renews the token while a connection is open, and the client certificate
// between two connections.
func TestRenewedFiles(t *testing.T) {
	p := newPlace(t, true)
	first := p.renew(p.authority)
	p.write(p.token, []byte("first\n"))
	connection := p.connect()
	if brought := p.want(connection, "first"); brought.serial != first {
		t.Error("the call was not authenticated with the first certificate")
	}
	p.write(p.token, []byte(" second=\r\n"))
	second := p.renew(p.authority)
	if brought := p.want(connection, "second="); brought.serial != first {
		t.Error("a call over the open connection was not authenticated with the first certificate")
	}
	transport, err := p.files.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	third := p.renew(p.authority) // the certificate is renewed after the method Credentials has read the files
	if brought := p.want(p.dial(transport.Clone()), "second="); brought.serial != third || second == third {
		t.Error("a call over a new connection was not authenticated with the renewed certificate")
	}
}

// TestCertificateIsSent checks that the client sends its certificate even to a server that does not
// trust the certificate's authority, and therefore refuses the connection.
func TestCertificateIsSent(t *testing.T) {
	p := newPlace(t, true)
	p.write(p.token, []byte("t"))
	p.renew(authtest.NewAuthority("another", time.Now()))
	if err := call(t, p.connect()); status.Code(err) != codes.Unavailable {
		t.Errorf("the error is %v, want Unavailable: the server refuses the connection", err)
	}
}

func TestServerName(t *testing.T) {
	p := newPlace(t, true)
	p.write(p.token, []byte("t"))
	p.files.ServerName = "broker.test"
	if err := call(t, p.connect()); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "not broker.test") {
		t.Errorf("the error is %v, want one that says that the server is not broker.test", err)
	}
	p.files.ServerName = "localhost"
	p.want(p.connect(), "t")
}

// TestTokenNeedsAPrivateConnection checks that no token is sent over a connection that other
// parties could read.
func TestTokenNeedsAPrivateConnection(t *testing.T) {
	p := newPlace(t, false)
	p.write(p.token, []byte("t"))
	p.want(p.dial(local.NewCredentials()), "t")
	if _, err := grpc.NewClient(p.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(client.TokenFile(p.token))); err == nil {
		t.Error("a connection without TLS accepts a token")
	}
	tcp := newPlace(t, true)
	tcp.write(tcp.token, []byte("t"))
	if err := call(t, tcp.dial(local.NewCredentials())); err == nil || !strings.Contains(err.Error(), "insecure connection") {
		t.Errorf("the error over TCP without TLS is %v, want one about an insecure connection", err)
	}
}

// TestInvalidTokens checks that a call with an invalid token fails before anything is sent.
func TestInvalidTokens(t *testing.T) {
	p := newPlace(t, true)
	connection := p.connect()
	for content, want := range map[string]string{
		"":                           "token is empty",
		" \n":                        "token is empty",
		"canary canary":              "contains characters that are not allowed in a token",
		"canary\ncanary":             "contains characters that are not allowed in a token",
		"canary\u00e9":               "contains characters that are not allowed in a token",
		strings.Repeat("c", 8<<10+1): "longer than 8192 bytes",
		strings.Repeat("c", 100<<10): "is larger than the limit of 64 KiB",
	} {
		p.write(p.token, []byte(content))
		err := call(t, connection)
		if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), p.token) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.20q: %v", content, err)
		}
	}
	if err := os.Remove(p.token); err != nil {
		t.Fatal(err)
	}
	if err := call(t, connection); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("the error without a token file is %v", err)
	}
	p.write(p.token, []byte(strings.Repeat("c", 8<<10)))
	p.want(connection, strings.Repeat("c", 8<<10))
}

func TestInvalidFiles(t *testing.T) {
	p := newPlace(t, true)
	good := p.files
	folder := t.TempDir()
	joined, fifo, huge := filepath.Join(folder, "joined.pem"), filepath.Join(folder, "fifo"), filepath.Join(folder, "huge")
	p.write(joined, append(bytes.TrimSpace(p.authority.PEM()), p.authority.PEM()...))
	p.write(huge, nil)
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Truncate(huge, 1<<40)); err != nil {
		t.Fatal(err)
	}
	ofAuthority := strconv.Itoa(bytes.Count(p.authority.PEM(), []byte("\n")))
	for want, files := range map[string]client.TLS{
		joined + ":" + ofAuthority + ": the END line of a block": {CAFile: joined},
		fifo + " is not a regular file":                          {CAFile: fifo},
		huge + " is larger than the limit of 1 MiB":              {CAFile: huge},
		huge + " is larger than the limit of 64 KiB":             {CertificateFile: good.CertificateFile, KeyFile: huge},
		"does not exist":                            {CAFile: p.token},
		"only certificates":                         {CAFile: good.KeyFile},
		"set both CertificateFile and KeyFile":      {CertificateFile: good.CertificateFile},
		"is not a regular file":                     {CertificateFile: good.CertificateFile, KeyFile: os.DevNull},
		"expected a CERTIFICATE, found PRIVATE KEY": {CertificateFile: good.KeyFile, KeyFile: good.KeyFile},
	} {
		if _, err := files.Credentials(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
	if _, err := (client.TLS{}).Credentials(); err != nil {
		t.Error(err)
	}
}
