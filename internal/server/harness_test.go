package server_test

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
	"github.com/authmaterial/broker/internal/testing/logtest"
)

const brokerService = "authmaterial.v1.BrokerService"

// The credential IDs in this configuration occur nowhere else, so that tests can search texts for
// them.
const configuration = `
credentials:
  - id: token-of-mail
    provider: sendpulse
    auth_method: oauth2_client_credentials
    values:
      client_id: {env: SENDPULSE_CLIENT_ID}
      client_secret: {env: SENDPULSE_CLIENT_SECRET}
  - id: key-of-board
    provider: pendo
    auth_method: api_key
    values: {api_key: {env: PENDO_API_KEY}}
`

// A harness is a server with real sockets, simulated providers and a log.
type harness struct {
	*testing.T
	server *server.Server
	sim    *simulator.Simulator
	log    *journal
	grpc   net.Listener
	http   net.Listener
	// The channel `stopped` is closed when the server no longer serves either listener.
	stopped chan struct{}
	conn    *grpc.ClientConn // client connection to the gRPC listener
}

// newServer returns a server that does not listen yet.
func newServer(t *testing.T, change ...func(*server.Options)) harness {
	t.Helper()
	sim, err := simulator.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	loaded, err := config.Parse("broker.yaml", []byte(configuration), config.Options{LookupEnv: simulated.Environment(sim)})
	if err != nil {
		t.Fatal(err)
	}
	log := new(journal)
	options := server.Options{
		Config:         loaded,
		Logger:         slog.New(slog.NewJSONHandler(log, nil)),
		TokenTransport: sim.Transport(),
		Version:        "test",
	}
	for _, apply := range change {
		apply(&options)
	}
	made, err := server.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return harness{T: t, server: made, sim: sim, log: log, stopped: make(chan struct{})}
}

// debugLog makes the server log every call.
func debugLog(log *journal) func(*server.Options) {
	return func(o *server.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

func serve(t *testing.T, change ...func(*server.Options)) harness {
	t.Helper()
	h := newServer(t, change...)
	h.grpc, h.http = listenTCP(t), listenTCP(t)
	h.serveBoth()
	return h
}

func serveUnix(t *testing.T) harness {
	t.Helper()
	h := newServer(t)
	folder := socketFolder(t)
	h.grpc = listen(t, unix(filepath.Join(folder, "grpc")), 0o600)
	h.http = listen(t, unix(filepath.Join(folder, "http")), 0o600)
	h.serveBoth()
	return h
}

func (h *harness) serveBoth() {
	h.Helper()
	var serving sync.WaitGroup
	for _, run := range []func() error{
		func() error { return h.server.ServeGRPC(h.grpc) },
		func() error { return h.server.ServeHTTP(h.http) },
	} {
		serving.Go(func() {
			if err := run(); err != nil {
				h.Errorf("the server ended with %v", err)
			}
		})
	}
	go func() { serving.Wait(); close(h.stopped) }()
	h.Cleanup(func() {
		h.server.Stop(context.Background())
		<-h.stopped
	})
	if h.conn == nil {
		h.conn = connect(h.T, h.grpc.Addr())
	}
	h.wantHealth("") // waits until the server is serving
}

func unix(path string) config.Address { return config.Address{Network: "unix", Address: path} }

// socketFolder returns a temporary folder with a path short enough for Unix sockets.
func socketFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "broker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

func listen(t *testing.T, address config.Address, mode fs.FileMode) net.Listener {
	t.Helper()
	listener, err := server.Listen(t.Context(), address, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	return listen(t, config.Address{Network: "tcp", Address: "127.0.0.1:0"}, 0)
}

func connect(t *testing.T, address net.Addr) *grpc.ClientConn {
	t.Helper()
	target := "passthrough:///" + address.String()
	if address.Network() == "unix" {
		target = "unix://" + address.String()
	}
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func (h harness) client() authmaterialv1.BrokerServiceClient {
	return authmaterialv1.NewBrokerServiceClient(h.conn)
}

func (h harness) get(id string) error {
	_, err := h.client().GetAuthDecoration(h.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
	return err
}

// getInBackground requests a credential whose token is not cached, and returns as soon as the
// provider has received the token request.
func (h harness) getInBackground(id string) (answer <-chan error) {
	h.Helper()
	before := h.sim.SendPulse.TotalTokenRequests()
	answered := make(chan error, 1)
	go func() { answered <- h.get(id) }()
	if err := h.sim.SendPulse.AwaitTokenRequests(h.Context(), before+1); err != nil {
		h.Fatal(err)
	}
	return answered
}

func (h harness) wantHealth(service string) {
	h.Helper()
	response, err := grpc_health_v1.NewHealthClient(h.conn).Check(h.Context(),
		&grpc_health_v1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	if err != nil || response.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		h.Fatalf("the health of %q is %v (%v), want SERVING", service, response.GetStatus(), err)
	}
}

func (h harness) fetch(path string) (code int, contentType, body string) {
	h.Helper()
	var dialer net.Dialer
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, h.http.Addr().Network(), h.http.Addr().String())
		},
	}}
	request, err := http.NewRequestWithContext(h.Context(), http.MethodGet, "http://broker.test"+path, nil)
	if err != nil {
		h.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		h.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		h.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Content-Type"), string(text)
}

func (h harness) wantAnswer(path string, code int, body string) {
	h.Helper()
	gotCode, contentType, got := h.fetch(path)
	if gotCode != code || got != body || contentType != "text/plain; charset=utf-8" {
		h.Errorf("%s answers %d %q with the content type %q, want %d %q as plain text", path, gotCode, got, contentType, code, body)
	}
}

// wantError checks the code and the reason of an error, and the message unless the wanted one is
// empty. The error must have no other details.
func (h harness) wantError(err error, code codes.Code, reason, message string) {
	h.Helper()
	got := status.Convert(err)
	if got.Code() != code || message != "" && got.Message() != message {
		h.Errorf("the error is %v %q, want %v %q", got.Code(), got.Message(), code, message)
	}
	if len(got.Details()) != 1 {
		h.Fatalf("the error has %d details, want only an ErrorInfo", len(got.Details()))
	}
	info, ok := got.Details()[0].(*errdetails.ErrorInfo)
	if !ok || info.GetDomain() != "authmaterial" || info.GetReason() != reason || len(info.GetMetadata()) != 0 {
		h.Errorf("the ErrorInfo is %s/%s, want authmaterial/%s", info.GetDomain(), info.GetReason(), reason)
	}
}

func (h harness) wantNoSecret(where, text string) {
	h.Helper()
	if slices.ContainsFunc(h.sim.Secrets(), func(secret string) bool { return strings.Contains(text, secret) }) {
		h.Errorf("%s contains a secret", where)
	}
}

type journal struct{ logtest.Log }

// A line has the fields of one line of the log, except for its time and message.
type line map[string]any

func (j *journal) lines(t *testing.T, message string) []line {
	t.Helper()
	var found []line
	for text := range strings.Lines(j.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("a line of the log is not JSON: %v", err)
		}
		if l["msg"] != message {
			continue
		}
		if _, ok := l["time"]; !ok {
			t.Error("a line of the log has no time")
		}
		delete(l, "time")
		delete(l, "msg")
		found = append(found, l)
	}
	return found
}

// restartsFor counts the log lines that ask for a restart because a setting changed.
func (h harness) restartsFor(setting string) int {
	h.Helper()
	lines := h.log.lines(h.T, "a setting changed: restart to apply it")
	return len(slices.DeleteFunc(lines, func(l line) bool { return l["setting"] != setting }))
}
