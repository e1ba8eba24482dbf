package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// The configuration part `everybody` grants every credential to every authenticated caller, and
// enables the audit file, from which tests read the caller's name.
const everybody = "\naudit: {file: audit.log}\ngrants: [{callers: [\"*\"], credentials: [\"*\"]}]\n"

// A world has the certificates, keys and tokens of callers, and a folder for the configuration of a
// broker that accepts them.
type world struct {
	*testing.T
	folder    string
	authority *authtest.Authority
	keys      *authtest.KeyServer
	key       authtest.Key
	mailer    secret.Text // a static token
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{T: t, folder: t.TempDir(), authority: authtest.NewAuthority("clients", time.Now()), key: authtest.NewEC("first"), mailer: authentication.GenerateToken()}
	w.keys = authtest.NewKeyServer(t, w.key)
	broker := w.authority.IssueLoopback()
	for name, data := range map[string][]byte{
		"clients.pem": w.authority.PEM(), "keys.pem": w.keys.RootsPEM(),
		"broker.pem": authtest.CertificatePEM(broker), "broker.key": authtest.KeyPEM(broker),
	} {
		w.write(name, string(data))
	}
	return w
}

func (w world) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.folder, name), []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// `all` returns a configuration that accepts every authentication method.
func (w world) all() string { return w.listenTLS() + w.authentication() + everybody }

func (world) listenTLS() string {
	return "\nlisten: {tls: {certificate_file: broker.pem, key_file: broker.key, client_ca_file: clients.pem}}\n"
}

func (w world) authentication() string {
	return `
authentication:
  jwt: [{name: idp, issuer: "https://idp.test", audiences: [broker], jwks_url: "` + w.keys.URL + `/jwks", ca_file: keys.pem}]
  tokens: [` + staticToken("mailer", w.mailer) + `]
`
}

func staticToken(name string, token secret.Text) string {
	return `{name: ` + name + `, sha256: "` + authentication.HashToken(token).String() + `"}`
}

// load parses a configuration that consists of the credentials that all tests use, and the text
// `more`.
func (w world) load(sim *simulator.Simulator, more string) (*config.Config, error) {
	return config.Parse(filepath.Join(w.folder, "broker.yaml"), []byte(configuration+more), config.Options{LookupEnv: simulated.Environment(sim)})
}

func (w world) serve(more string, listener net.Listener, change ...func(*server.Options)) harness {
	w.Helper()
	h := newServer(w.T, append(change, func(o *server.Options) {
		sim, err := simulator.New()
		if err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { _ = sim.Close() })
		if o.Config, err = w.load(sim, more); err != nil {
			w.Fatal(err)
		}
	})...)
	h.grpc, h.http = listener, listenTCP(w.T)
	if strings.Contains(more, "tls:") {
		h.conn = w.dial(h)
	}
	h.serveBoth()
	return h
}

func (w world) reload(h harness, more string) error {
	w.Helper()
	return h.server.Reload(func() (*config.Config, error) { return w.load(h.sim, more) })
}

// mint returns a JWT of the issuer `idp` for the subject `alice`, with some claims replaced.
func (w world) mint(k authtest.Key, claims authtest.Claims) string {
	return k.Mint(nil, authtest.Claims{
		"iss": "https://idp.test", "aud": "broker", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(),
	}.With(claims))
}

// dial connects over TLS. The client sends the first certificate even if the server does not ask
// for certificates of its authority.
func (w world) dial(h harness, certificates ...tls.Certificate) *grpc.ClientConn {
	w.Helper()
	client := &tls.Config{RootCAs: authtest.Pool(w.authority), ServerName: "localhost", MinVersion: tls.VersionTLS13}
	if len(certificates) > 0 {
		client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificates[0], nil }
	}
	return w.dialWith(h, credentials.NewTLS(client))
}

func (w world) dialWith(h harness, transport credentials.TransportCredentials, options ...grpc.DialOption) *grpc.ClientConn {
	w.Helper()
	target := "passthrough:///" + h.grpc.Addr().String()
	if h.grpc.Addr().Network() == "unix" {
		target = "unix://" + h.grpc.Addr().String()
	}
	connection, err := grpc.NewClient(target, append(options, grpc.WithTransportCredentials(transport))...)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = connection.Close() })
	return connection
}

func plain() credentials.TransportCredentials { return insecure.NewCredentials() }

// `with` returns the context of a call that sends the given values of the header `authorization`.
func with(ctx context.Context, authorizations ...string) context.Context {
	for _, value := range authorizations {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
	}
	return ctx
}

func getOver(ctx context.Context, connection *grpc.ClientConn) error {
	_, err := authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "key-of-board"})
	return err
}

// watchOver starts a watch of the credential key-of-board, and waits for its first state or its
// end.
func watchOver(ctx context.Context, connection *grpc.ClientConn) (authmaterialv1.BrokerService_WatchAuthDecorationsClient, error) {
	stream, err := authmaterialv1.NewBrokerServiceClient(connection).WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"key-of-board"}})
	if err == nil {
		_, err = stream.Recv()
	}
	return stream, err
}

// ending waits until a watch has ended, and returns the error that ended it.
func ending(t *testing.T, stream authmaterialv1.BrokerService_WatchAuthDecorationsClient) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := stream.Recv(); err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatal("the watch does not end")
		return nil
	}
}

// wantCaller checks the caller in the last record of the audit file.
func (w world) wantCaller(name, method string) {
	w.Helper()
	data, err := os.ReadFile(filepath.Join(w.folder, "audit.log"))
	if err != nil {
		w.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	var record struct{ Caller, Method, Address string }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &record); err != nil {
		w.Fatalf("the last record of the audit file is %q: %v", lines[len(lines)-1], err)
	}
	if record.Caller != name || record.Method != method || record.Address == "" {
		w.Errorf("the caller is %+v, want %s, authenticated by %s", record, name, method)
	}
}

func (w world) fromCertificate(template x509.Certificate) tls.Certificate {
	return w.authority.Issue(template)
}
