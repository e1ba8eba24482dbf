package server_test

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // this import enables health checks by clients
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

// The clients of TestRollingRestart have a gRPC service config that distributes calls among
// brokers.
const balanced = `{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": "` + brokerService + `"}}`

// replicas are servers with fixed names. When a server restarts, it may get another port, because
// another process may have taken the previous one.
type replicas struct {
	*testing.T
	sim   *simulator.Simulator
	calls atomic.Int64

	mu      sync.Mutex
	running map[string]*replica
	ports   map[string]string // names of servers, by address
	served  map[served]int    // number of calls that each server has answered since its start, by client
	changed chan struct{}     // closed when a server has answered a call
}

// served is the number of a client, with the name of a server that has answered it.
type served struct {
	client int
	by     string
}

type replica struct {
	listener net.Listener
	stop     context.CancelFunc
	ended    chan error
}

// start runs a server as `broker serve` does.
func (r *replicas) start(name string) {
	r.Helper()
	loaded, err := config.Parse("broker.yaml", []byte(configuration), config.Options{LookupEnv: simulated.Environment(r.sim)})
	if err != nil {
		r.Fatal(err)
	}
	made, err := server.New(server.Options{Config: loaded, Logger: slog.New(slog.DiscardHandler), TokenTransport: r.sim.Transport()})
	if err != nil {
		r.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	started := &replica{listener: listenTCP(r.T), stop: stop, ended: make(chan error, 1)}
	go func() { started.ended <- made.Run(ctx, server.Listeners{GRPC: started.listener}) }()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[name] = started
	r.ports[started.listener.Addr().String()] = name
	maps.DeleteFunc(r.served, func(s served, _ int) bool { return s.by == name })
}

// stop stops a server as SIGTERM does, and waits for its end.
func (r *replicas) stop(name string) {
	r.Helper()
	r.mu.Lock()
	stopped := r.running[name]
	r.mu.Unlock()
	stopped.stop()
	if err := <-stopped.ended; err != nil {
		r.Errorf("the server %s ended with %v", name, err)
	}
}

// dial connects to the server that now has the given name.
func (r *replicas) dial(ctx context.Context, name string) (net.Conn, error) {
	r.mu.Lock()
	running := r.running[name]
	r.mu.Unlock()
	if running == nil {
		return nil, syscall.ECONNREFUSED
	}
	return new(net.Dialer).DialContext(ctx, "tcp", running.listener.Addr().String())
}

func (r *replicas) connect(names ...string) *grpc.ClientConn {
	r.Helper()
	builder := manual.NewBuilderWithScheme("replicas")
	var state resolver.State
	for _, name := range names {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: name})
	}
	builder.InitialState(state)
	connection, err := grpc.NewClient("replicas:///broker", grpc.WithResolvers(builder),
		grpc.WithContextDialer(r.dial), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(balanced),
		// Short waits between connection attempts save time; the default waits are not tested.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1, MaxDelay: time.Second}}))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = connection.Close() })
	return connection
}

// call makes one call of a client, and records which server answered it.
func (r *replicas) call(client int, broker authmaterialv1.BrokerServiceClient, id string) {
	var answered peer.Peer
	_, err := broker.GetAuthDecoration(context.Background(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id}, grpc.Peer(&answered))
	if err != nil {
		r.Errorf("a call failed: %v", err)
		return
	}
	r.calls.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if name := r.ports[answered.Addr.String()]; answered.Addr.String() == r.running[name].listener.Addr().String() {
		r.served[served{client, name}]++
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// awaitCalls waits until a server has answered n calls of a client.
func (r *replicas) awaitCalls(client int, name string, n int) {
	r.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		answered, changed := r.served[served{client, name}], r.changed
		r.mu.Unlock()
		if answered >= n {
			return
		}
		select {
		case <-changed:
		case <-late:
			r.Fatalf("the client %d does not connect to the server %s", client, name)
		}
	}
}

// watch watches the credentials until ctx ends. Whenever a stopping server ends a watch, another
// watch begins.
func (r *replicas) watch(ctx context.Context, broker authmaterialv1.BrokerServiceClient, ended *atomic.Int64) {
	for ctx.Err() == nil {
		stream, err := broker.WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"token-of-mail", "key-of-board"}})
		for err == nil {
			var state *authmaterialv1.WatchAuthDecorationsResponse
			if state, err = stream.Recv(); err == nil && state.GetAuthDecoration() == nil {
				r.Errorf("a watch reports an error: %v", state.GetError().GetReason())
			}
		}
		if ctx.Err() != nil {
			return
		}
		got := status.Convert(err)
		if reason := reasonOf(got); got.Code() != codes.Unavailable || reason != "SERVER_STOPPING" {
			r.Errorf("a watch ends with %v %s (%s), want SERVER_STOPPING", got.Code(), reason, got.Message())
		}
		ended.Add(1)
	}
}

func reasonOf(s *status.Status) string {
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// TestRollingRestart restarts two servers in turn while clients call both, and no call may fail.
func TestRollingRestart(t *testing.T) {
	sim, err := simulator.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	r := &replicas{
		T: t, sim: sim, running: map[string]*replica{}, ports: map[string]string{}, served: map[served]int{},
		changed: make(chan struct{}),
	}
	names := []string{"a", "b"}
	for _, name := range names {
		r.start(name)
	}
	ctx, end := context.WithCancel(context.Background())
	limiter := rate.NewLimiter(loadRate, 1)
	var clients sync.WaitGroup
	var watchesEnded atomic.Int64
	const clientCount = 4
	for i := range clientCount {
		broker := authmaterialv1.NewBrokerServiceClient(r.connect(names...))
		clients.Go(func() { r.watch(ctx, broker, &watchesEnded) })
		for j := range loadCallers / clientCount {
			clients.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), uint64(j)))
				for limiter.Wait(ctx) == nil {
					r.call(i, broker, []string{"token-of-mail", "key-of-board"}[random.IntN(2)])
				}
			})
		}
	}
	defer clients.Wait()
	defer end()
	restarts := soak(16, 500)
	for i := range restarts {
		if t.Failed() {
			break
		}
		for client := range clientCount { // waits until all clients have connected to both servers
			for _, name := range names {
				r.awaitCalls(client, name, loadCallers/clientCount)
			}
		}
		name := names[i%2]
		r.stop(name)
		r.start(name)
	}
	end()
	clients.Wait()
	t.Logf("%d restarts, %d calls, %d watches ended", restarts, r.calls.Load(), watchesEnded.Load())
	for _, name := range names {
		r.stop(name)
	}
}
