package server_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/secret"
)

// swapped returns two configurations that differ only in the names of two callers: the second
// configuration exchanges them, both in the tokens and in the grants. In both configurations, the
// first token gives access to the credential key-of-board, and the second token to the credential
// key-of-other.
func swapped(first, second secret.Text) [2]string {
	const other = "  - {id: key-of-other, provider: pendo, auth_method: api_key, values: {api_key: {value: k}}}\n"
	var both [2]string
	for i, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		both[i] = other + "limits: {calls_per_second: 1000000, denials_per_second: 1000000}\nauthentication: {tokens: [" + staticToken(names[0], first) + ", " + staticToken(names[1], second) + "]}\n" +
			fmt.Sprintf("grants:\n  - {callers: [token:%s], credentials: [key-of-board]}\n  - {callers: [token:%s], credentials: [key-of-other]}\n", names[0], names[1])
	}
	return both
}

// While reloads exchange the names of two callers, the caller's name and the grants of each call
// must come from the same configuration.
func TestCallersExchangeNames(t *testing.T) {
	const reloads = 200
	w := newWorld(t)
	first, second := authentication.GenerateToken(), authentication.GenerateToken()
	both := swapped(first, second)
	h := w.serve(both[0], listenTCP(t))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var asking sync.WaitGroup
	for _, token := range []secret.Text{first, second} {
		for _, id := range []string{"key-of-board", "key-of-other"} {
			want := codes.OK
			if (token == first) != (id == "key-of-board") {
				want = codes.PermissionDenied
			}
			caller := with(ctx, "Bearer "+token.Reveal())
			asking.Go(func() {
				for ctx.Err() == nil {
					_, err := h.client().GetAuthDecoration(caller, &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
					if got := status.Code(err); got != want && ctx.Err() == nil {
						t.Errorf("the answer for %s is %v, want %v", id, got, want)
						return
					}
				}
			})
			asking.Go(func() { h.watchWhileNamesChange(caller, id, want) })
		}
	}
	for i := range reloads {
		if err := w.reload(h, both[(i+1)%2]); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	asking.Wait()
}

// watchWhileNamesChange watches a credential repeatedly. A watch without access to the credential
// must receive nothing but the denial.
func (h harness) watchWhileNamesChange(ctx context.Context, id string, want codes.Code) {
	for ctx.Err() == nil {
		stream, err := h.client().WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{id}})
		for err == nil {
			var state *authmaterialv1.WatchAuthDecorationsResponse
			if state, err = stream.Recv(); err == nil && want != codes.OK && state.GetError().GetCode() != int32(want) {
				h.Errorf("a watch of %s reports %v, want %v", id, codes.Code(state.GetError().GetCode()), want)
				return
			}
		}
	}
}

// Between the beginning of a call and its message, a reload gives the caller's name to another
// caller.
func TestMessageAfterAReload(t *testing.T) {
	w := newWorld(t)
	first, second := authentication.GenerateToken(), authentication.GenerateToken()
	both := swapped(first, second)
	h := w.serve(both[0], listenTCP(t))
	began := 0
	begin := func(token secret.Text) grpc.ClientStream {
		began++
		stream, err := h.conn.NewStream(with(t.Context(), "Bearer "+token.Reveal()), &grpc.StreamDesc{ClientStreams: true}, authmaterialv1.BrokerService_GetAuthDecoration_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		h.awaitStarted(began)
		return stream
	}
	finish := func(stream grpc.ClientStream, id string) error {
		if err := stream.SendMsg(&authmaterialv1.GetAuthDecorationRequest{CredentialId: id}); err != nil {
			return err
		}
		_ = stream.CloseSend()
		return stream.RecvMsg(new(authmaterialv1.GetAuthDecorationResponse))
	}
	theirs, others, gone := begin(first), begin(first), begin(second)
	if err := w.reload(h, both[1]); err != nil {
		t.Fatal(err)
	}
	if err := finish(theirs, "key-of-board"); err != nil {
		t.Errorf("a call for the caller's own credential fails: %v", err)
	}
	h.wantError(finish(others, "key-of-other"), codes.PermissionDenied, "ACCESS_DENIED", "")
	if err := w.reload(h, "authentication: {tokens: ["+staticToken("a", first)+"]}\ngrants: [{callers: [\"*\"], credentials: [\"*\"]}]\n"); err != nil {
		t.Fatal(err)
	}
	h.wantUnauthenticated(finish(gone, "key-of-board"), unknown)
}

func (h harness) eventually(what string, is func() bool) {
	h.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	late := time.After(patience)
	for !is() {
		select {
		case <-ticker.C:
		case <-late:
			h.Fatalf("the event did not happen within %v: %s", patience, what)
		}
	}
}
