package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

// A scene has a server, simulated providers and a log in a synctest bubble, where time passes only
// while all goroutines wait.
type scene struct {
	*testing.T
	sim    *simulator.Simulator
	server *server.Server
	client authmaterialv1.BrokerServiceClient
	log    *journal
	http   *bufconn.Listener
}

func inScene(t *testing.T, test func(*scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim, err := simulator.New(simulator.InProcess())
		if err != nil {
			t.Fatal(err)
		}
		b := &scene{T: t, sim: sim, log: new(journal), http: bufconn.Listen(1 << 20)}
		b.server, err = server.New(server.Options{
			Config:         b.parse(simulated.Environment(sim)),
			Logger:         slog.New(slog.NewJSONHandler(b.log, nil)),
			TokenTransport: sim.RoundTripper(),
			Version:        "test",
			Clock:          clockwork.NewRealClock(), // this clock shows the simulated time of the bubble
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := b.serve()
		t.Cleanup(func() {
			stop()
			_ = sim.Close()
		})
		test(b)
	})
}

// parse parses the configuration and the text `more`, with the given environment variables.
func (b *scene) parse(environment func(string) (string, bool), more ...string) *config.Config {
	b.Helper()
	text := configuration + strings.Join(more, "")
	loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: environment})
	if err != nil {
		b.Fatal(err)
	}
	return loaded
}

func (b *scene) serve() (stop func()) {
	b.Helper()
	listener := bufconn.Listen(1 << 20)
	var serving sync.WaitGroup
	serving.Go(func() { _ = b.server.ServeGRPC(listener) })
	serving.Go(func() { _ = b.server.ServeHTTP(b.http) })
	connection, err := grpc.NewClient("passthrough:///broker.test",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		b.Fatal(err)
	}
	b.client = authmaterialv1.NewBrokerServiceClient(connection)
	return func() {
		_ = connection.Close()
		b.server.Stop(context.Background())
		serving.Wait()
	}
}

// `get` requests the credential token-of-mail, which has a token strategy.
func (b *scene) get() (*authmaterialv1.AuthDecoration, error) {
	response, err := b.client.GetAuthDecoration(b.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "token-of-mail"})
	return response.GetAuthDecoration(), err
}

func (b *scene) report(decoration *authmaterialv1.AuthDecoration) {
	b.Helper()
	_, err := b.client.ReportRejection(b.Context(), &authmaterialv1.ReportRejectionRequest{
		CredentialId: decoration.GetCredentialId(), Version: decoration.GetVersion(), HttpStatus: http.StatusUnauthorized,
	})
	if err != nil {
		b.Fatal(err)
	}
}

// pass lets simulated time pass, and waits until all due timers have run.
func (*scene) pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a synctest bubble, this sleep takes no real time
	synctest.Wait()
}

func (b *scene) scrape() string {
	b.Helper()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return b.http.DialContext(ctx) },
	}
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://broker.test/metrics", nil)
	if err != nil {
		b.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// exercise causes every event that the metrics count.
func (b *scene) exercise() {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	if _, err := b.client.WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"key-of-board"}}); err != nil {
		b.Fatal(err)
	}
	decoration, err := b.get()
	if err != nil {
		b.Fatal(err)
	}
	b.report(decoration)
}
