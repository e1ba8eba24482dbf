package main

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/peertest"
)

// mostAllocated is the maximum number of bytes that a command may allocate for a hostile broker's
// response.
const mostAllocated = 16 << 20

// TestGetFromAHostileBroker calls servers that announce a longer response than they send, or that
// send headers without end.
func TestGetFromAHostileBroker(t *testing.T) {
	for name, answer := range peertest.HTTP2Answers() {
		t.Run(name, func(t *testing.T) {
			address := peertest.ServeHTTP2(t, answer)
			peertest.WantAllocated(t, mostAllocated, func() {
				wantProblem(t, []string{"get", "pendo", "--address", address, "--timeout", "1m"}, `.`)
			})
		})
	}
	address := peertest.ServeHTTP2(t, peertest.Interim)
	wantProblem(t, []string{"get", "pendo", "--address", address, "--timeout", "100ms"}, `has not answered within 100ms`)
}

// crowded is a broker that returns a decoration with a million headers.
type crowded struct {
	authmaterialv1.UnimplementedBrokerServiceServer
	answer *authmaterialv1.GetAuthDecorationResponse
}

func (c crowded) GetAuthDecoration(context.Context, *authmaterialv1.GetAuthDecorationRequest) (*authmaterialv1.GetAuthDecorationResponse, error) {
	return c.answer, nil
}

// TestGetAMillionHeaders checks that a command rejects a decoration that is too large, and
// allocates little memory for it.
func TestGetAMillionHeaders(t *testing.T) {
	decoration := &authmaterialv1.AuthDecoration{Headers: make([]*authmaterialv1.Header, 1_000_000)}
	one := &authmaterialv1.Header{Name: "a"}
	for i := range decoration.GetHeaders() {
		decoration.GetHeaders()[i] = one
	}
	listener := newListener(t)
	server := grpc.NewServer()
	authmaterialv1.RegisterBrokerServiceServer(server, crowded{answer: &authmaterialv1.GetAuthDecorationResponse{AuthDecoration: decoration}})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	peertest.WantAllocated(t, mostAllocated, func() { // the limit includes the memory for the message that the server sends
		wantProblem(t, []string{"get", "pendo", "--address", listener.Addr().String(), "--timeout", "1m"}, `larger than max`)
	})
}
