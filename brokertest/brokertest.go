// Package brokertest is for tests of services that call the broker. The package runs the real
// broker in a Go test, with simulated providers.
//
//	func TestMyService(t *testing.T) {
//		b := brokertest.New(t)
//		service := NewMyService(b.HTTPClientWith("sendpulse-oauth"))
//		…
//		b.Simulator.SendPulse.RevokeTokens()
//		…
//	}
//
// Package simulator simulates every other provider from its definition, a built-in one or one of your
// own:
//
//	b := brokertest.New(t, brokertest.WithCredentials(brokertest.Credential{
//		ID: "mail", Provider: "mailgun", AuthMethod: "api_key", Simulated: true,
//	}))
//	service := NewMyService(b.HTTPClientWith("mail"))
//
// The broker is the server that `broker serve` runs. Tests connect to it in memory, or over a
// loopback address if they use WithTLS. Package simulator simulates the providers. The broker, and
// the clients from HTTPClientWith and HTTPClient, use the providers' real host names and real TLS,
// but connect to the simulator. No request leaves this machine.
package brokertest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

const bufferSize = 1 << 20

// Broker is a running broker with its simulated providers. The broker and the providers stop at the
// end of the test.
type Broker struct {
	// Simulator contains the providers: their accounts, counters and failures.
	Simulator *simulator.Simulator

	connection *grpc.ClientConn
	caller     *client.Client
	secured    *secured // nil without TLS
	accounts   map[string]*simulator.Account
}

// New starts a broker. New fails the test if the options result in an invalid configuration.
func New(t testing.TB, options ...Option) *Broker {
	t.Helper()
	chosen := settings{
		config:      simulated.Config,
		environment: map[string]string{},
		clock:       clockwork.NewRealClock(),
		logger:      slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, option := range options {
		option.apply(&chosen)
	}
	sim, err := simulator.New(simulator.WithClock(chosen.clock), simulator.WithHosts(chosen.hosts...))
	if err != nil {
		t.Fatalf("brokertest: %v", err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	if chosen.tls {
		chosen.secured = newSecured(t)
	}
	loaded, err := chosen.load(sim)
	if err != nil {
		t.Fatalf("brokertest: the configuration:\n%v", err)
	}
	broker, err := server.New(server.Options{
		Config:         loaded,
		Logger:         chosen.logger,
		Clock:          chosen.clock,
		TokenTransport: sim.Transport(),
		Version:        "brokertest",
	})
	if err != nil {
		t.Fatalf("brokertest: %v", err)
	}
	connection := connect(t, broker, chosen.secured)
	caller := client.New(connection, client.WithClock(chosen.clock.Now))
	t.Cleanup(caller.Close)
	return &Broker{Simulator: sim, connection: connection, caller: caller, secured: chosen.secured, accounts: chosen.accounts}
}

func connect(t testing.TB, broker *server.Server, secured *secured) *grpc.ClientConn {
	t.Helper()
	memory := bufconn.Listen(bufferSize)
	var listener net.Listener = memory
	target := "passthrough:///brokertest"
	options := []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return memory.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	}
	if secured != nil {
		var transport credentials.TransportCredentials
		listener, transport = secured.open(t)
		target, options = secured.address, []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	}
	served := make(chan error, 1)
	go func() { served <- broker.ServeGRPC(listener) }()
	connection, err := grpc.NewClient(target, options...)
	if err != nil {
		t.Fatalf("brokertest: connect: %v", err)
	}
	t.Cleanup(func() {
		_ = connection.Close()
		broker.Stop(context.Background())
		if err := <-served; err != nil {
			t.Errorf("brokertest: the server ended with %v", err)
		}
	})
	return connection
}

// Account returns the simulated account of a credential that has the setting Simulated, or nil.
func (b *Broker) Account(credentialID string) *simulator.Account { return b.accounts[credentialID] }

// Conn returns a connection to the broker, for generated clients.
func (b *Broker) Conn() *grpc.ClientConn { return b.connection }

// Client returns a client of the broker.
func (b *Broker) Client() authmaterialv1.BrokerServiceClient {
	return authmaterialv1.NewBrokerServiceClient(b.connection)
}

// HTTPClientWith returns an HTTP client that adds the material of a credential to its requests, as
// client.Client.HTTPClient does, and sends them to the simulated providers. The HTTP clients of one
// Broker keep one copy of the material of each credential, and use the clock of the broker.
func (b *Broker) HTTPClientWith(credentialID string) *http.Client {
	return &http.Client{Transport: b.caller.Transport(credentialID, b.Simulator.Transport())}
}

// HTTPClient returns an HTTP client that sends all requests to the simulated providers, whatever
// host a request names. The client follows no redirects, because a client that sends auth material
// must check the target of a redirect first.
func (b *Broker) HTTPClient() *http.Client { return b.Simulator.HTTPClient() }
