package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// outage is a broker in memory that can be stopped and started.
type outage struct {
	listener atomic.Pointer[bufconn.Listener]
	server   *grpc.Server
	refused  chan struct{} // receives an element for each refused connection
}

func (o *outage) start(version string) {
	decoration := newDecoration()
	decoration.CredentialId, decoration.Version, decoration.Headers[0].Value = "c", version, version
	o.server = grpc.NewServer()
	authmaterialv1.RegisterBrokerServiceServer(o.server, fixedBroker{decorations: map[string]*authmaterialv1.AuthDecoration{"c": decoration}})
	listener := bufconn.Listen(1 << 20)
	go o.server.Serve(listener) //nolint:errcheck // if the server cannot run, the test's calls fail
	o.listener.Store(listener)
}

func (o *outage) stop() {
	o.listener.Store(nil)
	o.server.Stop()
}

func (o *outage) dial(ctx context.Context, _ string) (net.Conn, error) {
	if listener := o.listener.Load(); listener != nil {
		return listener.DialContext(ctx)
	}
	o.refused <- struct{}{}
	return nil, errors.New("the broker is down")
}

// lastKey is a base transport that remembers the key of the last request.
type lastKey struct{ key string }

func (l *lastKey) RoundTrip(request *http.Request) (*http.Response, error) {
	l.key = request.Header.Get("X-Api-Key")
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// TestReconnectDuringTheDelayOfGRPC checks that the client connects to a broker that is back, although
// gRPC would wait for an hour before its next attempt.
func TestReconnectDuringTheDelayOfGRPC(t *testing.T) {
	t.Parallel()
	o := &outage{refused: make(chan struct{}, 100)}
	o.start("v1")
	connection, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(o.dial),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Hour, MaxDelay: time.Hour}}))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close() //nolint:errcheck // an error does not matter after the test
	defer func() { o.server.Stop() }()
	amb := client.New(connection)
	defer amb.Close()
	last := &lastKey{}
	send := func() string {
		response, err := amb.Transport("c", last).RoundTrip(newRequest(t, "https://api.example.test/"))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return last.key
	}
	first := send()
	o.stop()
	<-o.refused // from now on, gRPC waits
	o.start("v2")
	for deadline := time.Now().Add(41 * time.Second); send() == first; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the client has not connected again")
		}
	}
}
