package server_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/store/sqlite"
)

// stop starts to stop the server, and returns when its health is NOT_SERVING. The returned channel
// is closed when the server has stopped.
func (h harness) stop(ctx context.Context) (stopped <-chan struct{}) {
	h.Helper()
	done := make(chan struct{})
	h.awaitStop(func() {
		go func() {
			defer close(done)
			h.server.Stop(ctx)
		}()
	})
	return done
}

// awaitStop waits until a health check reports that the server is stopping, after `begin` was
// called.
func (h harness) awaitStop(begin func()) {
	h.Helper()
	watching, end := context.WithCancel(h.Context())
	defer end() // the server waits for health watchers too
	var watches []grpc_health_v1.Health_WatchClient
	for _, service := range []string{"", brokerService} {
		watch, err := grpc_health_v1.NewHealthClient(h.conn).Watch(watching, &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil {
			h.Fatal(err)
		}
		h.wantNext(watch, grpc_health_v1.HealthCheckResponse_SERVING)
		watches = append(watches, watch)
	}
	begin()
	for _, watch := range watches {
		h.wantNext(watch, grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	}
}

func (h harness) wantNext(watch grpc_health_v1.Health_WatchClient, want grpc_health_v1.HealthCheckResponse_ServingStatus) {
	h.Helper()
	response, err := watch.Recv()
	if err != nil || response.GetStatus() != want {
		h.Fatalf("the health is %v (%v), want %v", response.GetStatus(), err, want)
	}
}

// wantClosed checks that a listener is closed, without connecting: another process may listen at
// the same address by then.
func (h harness) wantClosed(listener net.Listener) {
	h.Helper()
	if err := listener.(*net.TCPListener).SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		h.Errorf("the server still listens on %s", listener.Addr())
	}
}

func TestStopLetsCallsFinish(t *testing.T) {
	h := serve(t)
	release := h.sim.SendPulse.HoldTokenAnswers()
	answer := h.getInBackground("token-of-mail")
	stopped := h.stop(t.Context())

	// While the call is in progress, the server still answers at /metrics and /livez.
	h.wantAnswer("/readyz", http.StatusServiceUnavailable, "not serving\n")
	h.wantAnswer("/livez", http.StatusOK, "ok\n")
	select {
	case err := <-answer:
		t.Fatalf("the call ended before the provider sent the token: %v", err)
	default:
	}

	release()
	if err := <-answer; err != nil {
		t.Errorf("the call failed: %v", err)
	}
	<-stopped
	<-h.stopped
	h.wantClosed(h.grpc)
	h.wantClosed(h.http)
	if n := len(h.log.lines(t, "calls have not finished: cancelling their token requests")); n != 0 {
		t.Errorf("%d log lines report cancelled token requests, want none", n)
	}
}

func TestStopEndsTokenRequests(t *testing.T) {
	h := serve(t)
	h.sim.SendPulse.FailTokenRequests(simulator.Hang())
	answer := h.getInBackground("token-of-mail")
	ctx, end := context.WithCancel(t.Context())
	stopped := h.stop(ctx)
	end()
	h.wantError(<-answer, codes.Unavailable, "SERVER_STOPPING", "the broker is stopping")
	<-stopped
	<-h.stopped
	if n := len(h.log.lines(t, "calls have not finished: cancelling their token requests")); n != 1 {
		t.Errorf("%d log lines report cancelled token requests, want one", n)
	}
}

// TestStopTwice stops a server several times, one after the other and concurrently.
func TestStopTwice(t *testing.T) {
	h := serve(t)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { h.server.Stop(t.Context()) })
	}
	all.Wait()
	<-h.stopped
	h.server.Stop(t.Context())
	h.wantClosed(h.grpc)
	h.wantClosed(h.http)
}

func TestStopBeforeServing(t *testing.T) {
	h := newServer(t)
	h.server.Stop(t.Context())
	h.http = listenTCP(t)
	if err := h.server.ServeHTTP(h.http); err != nil {
		t.Errorf("ServeHTTP ends with %v", err)
	}
	h.wantClosed(h.http)
}

func TestRunEndsWithItsContext(t *testing.T) {
	for name, withHTTP := range map[string]bool{"with HTTP": true, "without HTTP": false} {
		t.Run(name, func(t *testing.T) {
			h := newServer(t)
			h.grpc = listenTCP(t)
			if withHTTP {
				h.http = listenTCP(t)
			}
			ctx, end := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- h.server.Run(ctx, server.Listeners{GRPC: h.grpc, HTTP: h.http}) }()
			h.conn = connect(t, h.grpc.Addr())
			h.wantHealth(brokerService)
			release := h.sim.SendPulse.HoldTokenAnswers()
			answer := h.getInBackground("token-of-mail")
			h.awaitStop(end)
			// When the context of Run ends, calls in progress still finish.
			release()
			if err := <-answer; err != nil {
				t.Errorf("the call failed: %v", err)
			}
			if err := <-ended; err != nil {
				t.Errorf("Run ends with %v", err)
			}
			h.wantClosed(h.grpc)
			if withHTTP {
				h.wantClosed(h.http)
			}
		})
	}
}

func TestRunEndsWithAListener(t *testing.T) {
	for name, pick := range map[string]func(h harness) (fails, other net.Listener){
		"grpc": func(h harness) (net.Listener, net.Listener) { return h.grpc, h.http },
		"http": func(h harness) (net.Listener, net.Listener) { return h.http, h.grpc },
	} {
		t.Run(name, func(t *testing.T) {
			h := newServer(t)
			h.grpc, h.http = listenTCP(t), listenTCP(t)
			ended := make(chan error, 1)
			go func() { ended <- h.server.Run(t.Context(), server.Listeners{GRPC: h.grpc, HTTP: h.http}) }()
			h.conn = connect(t, h.grpc.Addr())
			h.wantHealth("")
			h.wantAnswer("/readyz", http.StatusOK, "ok\n")
			fails, other := pick(h)
			if err := fails.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err == nil {
				t.Error("Run returns no error although a listener failed")
			}
			h.wantClosed(other)
		})
	}
}

// TestStopLetsCallsOverHTTPFinish stops a server while a call over HTTP and a call over gRPC wait for
// the provider. The uses of credentials by these calls are stored.
func TestStopLetsCallsOverHTTPFinish(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broker.db")
	m := serveManaging(t, "  url: sqlite://"+path+"\n")
	pair := accounts(m.sim)["sendpulse pair"]
	for id, values := range map[string]map[string]string{"one": pair.values, "two": pair.next} {
		create := &authmaterialv1.CreateCredentialRequest{
			CredentialId: id, Values: fieldValues(values),
			Credential: &authmaterialv1.Credential{DisplayName: id, Provider: pair.provider, AuthMethod: pair.method},
		}
		if _, err := m.credentials.CreateCredential(m.as("admin"), create); err != nil {
			t.Fatal(err)
		}
	}
	release := m.sim.SendPulse.HoldTokenAnswers()
	overGRPC, overHTTP := make(chan error, 1), make(chan answered, 1)
	go func() { _, err := m.material("web", "one"); overGRPC <- err }()
	go func() {
		defer close(overHTTP)
		overHTTP <- m.post("admin", credentialService+"VerifyCredential", `{"credentialId": "two"}`)
	}()
	if err := m.sim.SendPulse.AwaitTokenRequests(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	stopped := m.stop(t.Context())
	if a := m.post("admin", credentialService+"ListCredentials", "{}"); a.code != http.StatusServiceUnavailable || !strings.Contains(a.debug("ErrorInfo"), "SERVER_STOPPING") {
		t.Errorf("a call that begins while the server stops is answered %d %s", a.code, a.text)
	}
	release()
	if err := <-overGRPC; err != nil {
		t.Errorf("the call over gRPC failed: %v", err)
	}
	if a := <-overHTTP; a.code != http.StatusOK {
		t.Errorf("the call over HTTP is answered %d %s", a.code, a.text)
	}
	<-stopped
	database, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close() //nolint:errcheck // only read
	var uses int
	row := database.Reader().QueryRowContext(t.Context(), `SELECT sum(count) FROM uses WHERE credential_id = 'one' AND caller LIKE '%web'`)
	if err := row.Scan(&uses); err != nil || uses != 1 {
		t.Errorf("%d uses of the credential are stored, want that of the call which ended while the server stopped; the error is %v", uses, err)
	}
}
