package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

const (
	watchConnections = 8
	// stoppedWatchers is the number of watchers that do not read.
	stoppedWatchers = 100
	// largeKey is the size in bytes of the API key of the credential `large`. A few messages with
	// this key fill the buffers of a stream. The key is shorter than 32 KiB, because gRPC allocates
	// a megabyte for longer messages.
	largeKey = 28 << 10
	// fullAfter is the number of changes of this key that would fill the buffers of a stream if
	// each change were sent. gRPC buffers 64 KiB of a stream at each end.
	fullAfter = 10
	// After these changes, the memory of a watch whose client does not read may have grown by
	// maxGrowth bytes: the buffers of gRPC, and two messages with the key. If all changes were
	// stored, they would need 840 KiB.
	maxGrowth = 2*64<<10 + 2*largeKey
	// A watch ends at the age maxWatchAge. When a connection has the age maxConnectionAge, the
	// server asks the client to close it, and then waits for maxWatchAge.
	maxWatchAge      = time.Hour
	maxConnectionAge = 33 * time.Minute
	// maxSize is the maximum memory of a watcher in bytes, with both ends of its stream.
	maxSize = 512 << 10
)

type watchStream = grpc.ServerStreamingClient[authmaterialv1.WatchAuthDecorationsResponse]

// An audience is a group of watchers that read their streams.
type audience struct {
	harness
	ended chan error

	mu      sync.Mutex
	reached map[string]int // number of watchers that have received each version
	changed chan struct{}  // closed when a watcher has received a version
}

func (a *audience) follow(stream watchStream) {
	for {
		state, err := stream.Recv()
		if err != nil {
			a.ended <- err
			return
		}
		a.mu.Lock()
		a.reached[state.GetAuthDecoration().GetVersion()]++
		close(a.changed)
		a.changed = make(chan struct{})
		a.mu.Unlock()
	}
}

func (a *audience) await(version string, n int) {
	a.Helper()
	late := time.After(patience)
	for {
		a.mu.Lock()
		reached, changed := a.reached[version], a.changed
		a.mu.Unlock()
		if reached >= n {
			return
		}
		select {
		case <-changed:
		case <-late:
			a.Fatalf("only %d of %d watchers received a change", reached, n)
		}
	}
}

func (h harness) setKeys(board, large string) {
	h.Helper()
	text := strings.Replace(configuration, "{env: PENDO_API_KEY}", "{value: "+board+"}", 1) +
		"  - {id: large, provider: pendo, auth_method: api_key, values: {api_key: {value: " + large + "}}}\n"
	err := h.server.Reload(func() (*config.Config, error) {
		return config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: simulated.Environment(h.sim)})
	})
	if err != nil {
		h.Fatal(err)
	}
}

func (h harness) version(id string) string {
	h.Helper()
	response, err := h.client().GetAuthDecoration(h.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
	if err != nil {
		h.Fatal(err)
	}
	return response.GetAuthDecoration().GetVersion()
}

// heap returns the heap memory in use in bytes.
func heap() int {
	runtime.GC()
	runtime.GC() // frees objects whose finalizers ran in the first collection
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// connectNarrow connects a client whose flow-control window is fixed at 64 KiB for each stream. By
// default, gRPC enlarges this window when there is much traffic.
func connectNarrow(t *testing.T, address net.Addr) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient("passthrough:///"+address.String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func watch(ctx context.Context, h harness, connection *grpc.ClientConn, ids ...string) watchStream {
	h.Helper()
	stream, err := authmaterialv1.NewBrokerServiceClient(connection).WatchAuthDecorations(ctx,
		&authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: ids})
	if err != nil {
		h.Fatal(err)
	}
	return stream
}

// Some of the watchers in TestManyWatchers do not read their streams.
func TestManyWatchers(t *testing.T) {
	readers := soak(1000, 10000) - stoppedWatchers
	h := serve(t, func(o *server.Options) {
		o.Config.Limits.ConcurrentCalls, o.Config.Limits.StreamsPerConnection = 10*readers, 10*readers
	})
	empty := heap()
	h.setKeys("first", strings.Repeat("x", largeKey))
	a := &audience{harness: h, ended: make(chan error, readers), reached: map[string]int{}, changed: make(chan struct{})}
	var connections []*grpc.ClientConn
	for range watchConnections {
		connections = append(connections, connectNarrow(t, h.grpc.Addr()))
	}
	patient, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	var stopped []watchStream
	for i := range stoppedWatchers {
		stopped = append(stopped, watch(patient, h, connections[i%watchConnections], "large"))
	}
	for i := range readers {
		go a.follow(watch(t.Context(), h, connections[i%watchConnections], "token-of-mail", "key-of-board"))
	}
	token, key := h.version("token-of-mail"), h.version("key-of-board")
	a.await(token, readers)
	a.await(key, readers)

	// The memory of watchers that do not read must not grow.
	changeLarge := func(from, to int) {
		for i := from; i < to; i++ {
			h.setKeys("first", fmt.Sprintf("%d-%s", i, strings.Repeat("x", largeKey)))
		}
		h.setKeys(fmt.Sprintf("after-%d", to), fmt.Sprintf("%d-%s", to, strings.Repeat("x", largeKey)))
		a.await(h.version("key-of-board"), readers)
	}
	changeLarge(0, fullAfter)
	full := heap()
	changeLarge(fullAfter, 4*fullAfter)
	growth := (heap() - full) / stoppedWatchers
	size := (full - empty) / (readers + stoppedWatchers)
	t.Logf("a watcher takes %d bytes; one that does not read grows by %d bytes within %d changes of %d bytes", size, growth, 3*fullAfter, largeKey)
	if growth > maxGrowth {
		t.Errorf("the memory of a watcher that does not read grows by %d bytes, want %d at most", growth, maxGrowth)
	}
	if size > maxSize {
		t.Errorf("a watcher uses %d bytes, want %d at most", size, maxSize)
	}

	// Watchers that read must receive every kind of change.
	response, err := h.client().ReportRejection(t.Context(), &authmaterialv1.ReportRejectionRequest{
		CredentialId: "token-of-mail", Version: token, HttpStatus: http.StatusUnauthorized,
	})
	if err != nil {
		t.Fatal(err)
	}
	a.await(response.GetAuthDecoration().GetVersion(), readers)
	h.setKeys("last", strings.Repeat("y", largeKey))
	a.await(h.version("key-of-board"), readers)

	// A watcher that reads again first receives the buffered states, and then the latest one.
	messages := 1
	for want := h.version("large"); ; messages++ {
		state, err := stopped[0].Recv()
		if err != nil {
			t.Fatal(err)
		}
		if state.GetAuthDecoration().GetVersion() == want {
			break
		}
	}
	if messages > fullAfter {
		t.Errorf("a watcher that reads again receives %d states", messages)
	}

	ended := make(chan struct{})
	go func() { h.server.Stop(context.Background()); close(ended) }()
	for range readers {
		h.wantError(<-a.ended, codes.Unavailable, "SERVER_STOPPING", "the broker is stopping")
	}
	giveUp() // without this call, the server waits a while for watchers that do not read
	<-ended
}

// In a day of calls, connections reach their maximum age several times, and clients reconnect. No
// call may fail.
func TestConnectionReachesItsMaximumAge(t *testing.T) {
	inScene(t, func(b *scene) {
		listener := bufconn.Listen(1 << 20)
		served := make(chan error, 1)
		go func() { served <- b.server.ServeGRPC(listener) }()
		var dials atomic.Int64
		connection, err := grpc.NewClient("passthrough:///bubble",
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				dials.Add(1)
				return listener.DialContext(ctx)
			}),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		defer connection.Close() //nolint:errcheck // errors of the client do not matter
		client := authmaterialv1.NewBrokerServiceClient(connection)
		const day, pause = 24 * time.Hour, 5 * time.Minute
		for range day / pause {
			if _, err := client.GetAuthDecoration(b.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "key-of-board"}); err != nil {
				b.Fatalf("a call failed: %v", err)
			}
			<-time.After(pause)
		}
		if n := dials.Load(); n < 40 || n > 60 {
			b.Errorf("the client opened %d connections in a day, want about 48", n)
		}
	})
}

// A watch whose client does not read cannot end at its own maximum age, because its handler is
// blocked: the watch must end with its connection.
func TestUnreadWatchEndsWithItsConnection(t *testing.T) {
	inScene(t, func(b *scene) {
		change := func(i int) {
			b.Helper()
			err := b.server.Reload(func() (*config.Config, error) {
				key := fmt.Sprintf("%d-%s", i, strings.Repeat("x", largeKey))
				return b.parse(simulated.Environment(b.sim), "  - {id: large, provider: pendo, auth_method: api_key, values: {api_key: {value: "+key+"}}}\n"), nil
			})
			if err != nil {
				b.Fatal(err)
			}
			synctest.Wait()
		}
		change(0)
		_, err := b.client.WatchAuthDecorations(b.Context(), &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"large"}})
		if err != nil {
			b.Fatal(err)
		}
		for i := range fullAfter {
			change(i + 1)
		}
		watchers := func(want int) {
			b.Helper()
			if text := fmt.Sprintf("\nauthmaterial_watchers %d\n", want); !strings.Contains(b.scrape(), text) {
				b.Errorf("the number of watchers is not %d", want)
			}
		}
		b.pass(maxWatchAge + time.Minute)
		watchers(1) // the handler is still blocked in Send
		b.pass(maxConnectionAge)
		watchers(0)
	})
}

func TestWatchReachesItsMaximumAge(t *testing.T) {
	const minAge, maxAge = 30 * time.Minute, time.Hour
	synctest.Test(t, func(t *testing.T) {
		sim, err := simulator.New(simulator.InProcess())
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := config.Parse("broker.yaml", []byte(configuration), config.Options{LookupEnv: simulated.Environment(sim)})
		if err != nil {
			t.Fatal(err)
		}
		made, err := server.New(server.Options{Config: loaded, Logger: slog.New(slog.DiscardHandler), TokenTransport: sim.RoundTripper(), Clock: clockwork.NewRealClock()})
		if err != nil {
			t.Fatal(err)
		}
		listener := bufconn.Listen(1 << 20)
		served := make(chan error, 1)
		go func() { served <- made.ServeGRPC(listener) }()
		connection, err := grpc.NewClient("passthrough:///bubble",
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		h := harness{T: t, server: made, sim: sim, conn: connection}
		ages := map[time.Duration]bool{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				began := time.Now()
				stream := watch(t.Context(), h, connection, "token-of-mail", "key-of-board")
				var err error
				for err == nil {
					_, err = stream.Recv()
				}
				mu.Lock()
				defer mu.Unlock()
				h.wantError(err, codes.Unavailable, "WATCH_TOO_OLD", "the watch has reached its maximum age: watch again")
				age := time.Since(began)
				if age < minAge || age > maxAge {
					t.Errorf("a watch ends at the age of %v, want %v to %v", age, minAge, maxAge)
				}
				ages[age] = true
			})
		}
		all.Wait()
		if len(ages) < 2 {
			t.Error("all watches end at the same time")
		}
		_ = connection.Close()
		made.Stop(t.Context())
		if err := <-served; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		_ = sim.Close()
	})
}
