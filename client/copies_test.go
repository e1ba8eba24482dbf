package client_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// heldBroker answers calls of GetAuthDecoration when `release` is closed.
type heldBroker struct {
	fixedBroker
	asked   chan struct{}
	release chan struct{}
}

func (b heldBroker) GetAuthDecoration(ctx context.Context, request *authmaterialv1.GetAuthDecorationRequest) (*authmaterialv1.GetAuthDecorationResponse, error) {
	b.asked <- struct{}{}
	select {
	case <-b.release:
		return b.fixedBroker.GetAuthDecoration(ctx, request)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// WatchAuthDecorations fails, so that only GetAuthDecoration delivers decorations.
func (heldBroker) WatchAuthDecorations(*authmaterialv1.WatchAuthDecorationsRequest, authmaterialv1.BrokerService_WatchAuthDecorationsServer) error {
	return status.Error(codes.Unavailable, "no streams in this test")
}

func newHeldBroker() heldBroker {
	decoration := newDecoration()
	decoration.CredentialId, decoration.Version = "held", "v1"
	return heldBroker{fixedBroker{decorations: map[string]*authmaterialv1.AuthDecoration{"held": decoration}}, make(chan struct{}, 10), make(chan struct{})}
}

// TestCancelledRequest cancels the request that caused a call, for whose answer another request
// waits.
func TestCancelledRequest(t *testing.T) {
	broker := newHeldBroker()
	amb := client.New(dialMemory(t, broker))
	defer amb.Close()
	transport := amb.Transport("held", fixedAnswer{&http.Response{StatusCode: http.StatusOK, Body: http.NoBody}})
	results := make(chan error)
	send := func(ctx context.Context) {
		response, err := transport.RoundTrip(newRequest(t, "https://api.example.test/").WithContext(ctx))
		if err == nil {
			err = response.Body.Close()
		}
		results <- err
	}
	ctx, cancel := context.WithCancel(t.Context())
	go send(ctx)
	<-broker.asked
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("the error of the cancelled request is %v, want Canceled", err)
	}
	go send(t.Context())
	close(broker.release)
	if err := <-results; err != nil {
		t.Error(err)
	}
	if n := len(broker.asked); n != 0 {
		t.Errorf("the broker received %d more calls, want none", n)
	}
}

// TestCloseDuringACall closes the client while a request waits for the broker.
func TestCloseDuringACall(t *testing.T) {
	broker := newHeldBroker()
	amb := client.New(dialMemory(t, broker))
	failed := make(chan error)
	go func() {
		_, err := amb.TokenSource("held").Token()
		failed <- err
	}()
	<-broker.asked
	amb.Close()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "the client is closed") {
		t.Errorf("the error of the waiting request is %v, want one that says that the client is closed", err)
	}
	if _, err := amb.TokenSource("held").Token(); err == nil || !strings.Contains(err.Error(), "the client is closed") {
		t.Errorf("the error after Close is %v, want one that says that the client is closed", err)
	}
}

// TestClosedConnection closes the connection of a client that is not closed. The goroutine that
// opens the stream again then ends.
func TestClosedConnection(t *testing.T) {
	broker := newHeldBroker()
	close(broker.release)
	connection := dialMemory(t, broker)
	if _, err := client.New(connection).TokenSource("held").Token(); err == nil {
		t.Error("a decoration with an API key was accepted as a token")
	}
	streams := func() bool {
		stacks := make([]byte, 1<<20)
		return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "client.(*stream).run")
	}
	eventually(t, "a goroutine opens the stream", streams)
	if err := connection.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the goroutine ends", func() bool { return !streams() })
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("this did not happen within 10 seconds: %s", what)
		}
	}
}

func TestTokenSource(t *testing.T) {
	header := func(name, value string) *authmaterialv1.AuthDecoration {
		return &authmaterialv1.AuthDecoration{Version: "v1", Headers: []*authmaterialv1.Header{{Name: name, Value: value}}}
	}
	two, both := header("Authorization", "Bearer canary"), header("Authorization", "Bearer canary")
	two.Headers = append(two.Headers, &authmaterialv1.Header{Name: "X-Account", Value: "7"})
	both.QueryParams = []*authmaterialv1.QueryParam{{Name: "key", Value: "canary"}}
	decorations := map[string]*authmaterialv1.AuthDecoration{
		"bearer": header("authorization", "Bearer canary"), "basic": header("Authorization", "Basic canary"), "key": header("X-Api-Key", "canary"),
		"empty": header("Authorization", "Bearer "), "two": two, "both": both, "none": {Version: "v1"},
	}
	amb := client.New(dialMemory(t, fixedBroker{decorations: decorations}))
	defer amb.Close()
	for id := range decorations {
		token, err := amb.TokenSource(id).Token()
		if id == "bearer" {
			if err != nil || token.AccessToken != "canary" || token.Type() != "Bearer" {
				t.Errorf("%s: the token is wrong, or there is an error: %v", id, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), `credential "`+id+`" is not exactly one header`) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error is %v, want one that explains why the credential has no token", id, err)
		}
	}
}
