package server_test

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// The watches in TestConcurrentCalls use up the limit concurrent_calls.
func TestConcurrentCalls(t *testing.T) {
	h := newWorld(t).limited("concurrent_calls: 4")
	ctx, end := context.WithCancel(t.Context())
	defer end()
	for range 4 {
		if _, err := watchOver(ctx, h.conn); err != nil {
			t.Fatal(err)
		}
	}
	var trailer metadata.MD
	_, err := h.client().GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "key-of-board"}, grpc.Trailer(&trailer))
	wantRateLimited(t, err, trailer)
	h.wantLimited("concurrent_calls", 1)
	end() // ends the watches
	h.eventually("another call is allowed", func() bool { return h.get("key-of-board") == nil })
}

// For each further connection from the same address, the server closes the oldest unauthenticated
// connection.
func TestIdleConnectionsAreEvicted(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.tokens(), listenTCP(t))
	var idle []*rawClient
	for range 65 {
		idle = append(idle, h.rawConnect(nil))
	}
	idle[0].want("closed", 0, 0)
	idle[1].wantStatus(idle[1].get(), codes.Unauthenticated)
	mailer := with(t.Context(), "Bearer "+w.mailer.Reveal())
	for range 20 {
		if err := getOver(mailer, w.dialWith(h, plain())); err != nil {
			t.Errorf("a call of an authenticated caller fails: %v", err)
		}
	}
}

// TestBytesOfAnUnprovedClient sends more bytes than an unauthenticated connection may send.
func TestBytesOfAnUnprovedClient(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.tokens(), listenTCP(t))
	raw := h.rawConnect(nil)
	for range 6 {
		raw.open("GetAuthDecoration", "x", strings.Repeat("x", 15<<10))
	}
	raw.want("closed", 0, 0)
	h.wantLimited("unproved_connections", 1)
}

// The first calls on a new connection may have more metadata together than an unauthenticated
// connection may send.
func TestBurstOfFirstCalls(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.tokens(), listenTCP(t))
	for _, size := range []int{0, 8 << 10} {
		mailer := metadata.AppendToOutgoingContext(with(t.Context(), "Bearer "+w.mailer.Reveal()), "x-more", strings.Repeat("x", size))
		connection := w.dialWith(h, plain())
		var calls sync.WaitGroup
		for range 100 {
			calls.Go(func() {
				if err := getOver(mailer, connection); err != nil {
					t.Errorf("a call with %d bytes of metadata fails: %v", size, err)
				}
			})
		}
		calls.Wait()
	}
}

func TestHealthWatchesAreLimited(t *testing.T) {
	h := newWorld(t).limited("concurrent_calls: 1, connections: 2")
	watch := func() error {
		stream, err := grpc_health_v1.NewHealthClient(h.conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	for range 2 {
		if err := watch(); err != nil {
			t.Fatal(err)
		}
	}
	wantRateLimited(t, watch(), nil)
	h.wantLimited("health", 1)
	if err := h.get("key-of-board"); err != nil {
		t.Errorf("a call fails although only health watches use up their limit: %v", err)
	}
}

// unread is a connection on which a client requests batches, but lets the server send no answer.
type unread struct {
	harness
	*rawClient
	ask func() (stream uint32)
}

// askForUnread requests batches, with the given additional headers, until a batch is refused.
func askForUnread(t *testing.T, w world, headers ...string) (c unread, refused event) {
	t.Helper()
	h := w.serve(w.tokens()+"limits: {streams_per_connection: 200, calls_per_second: 1000000}\n", listenTCP(t))
	raw := h.rawConnect(nil)
	_ = raw.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	batch := &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: slices.Repeat([]string{"key-of-board"}, 100)}
	message, err := proto.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() uint32 {
		stream := raw.open("BatchGetAuthDecorations", append(headers, "authorization", "Bearer "+w.mailer.Reveal())...)
		raw.send(stream, message, len(message))
		return stream
	}
	refused = event{what: "answer"}
	for sent := 0; refused.what == "answer" && sent < 200; sent++ {
		ask()
		refused = raw.next()
	}
	if refused.what != "status" || refused.code != uint32(codes.ResourceExhausted) {
		t.Fatalf("the server sends %+v", refused)
	}
	h.wantLimited("batches_per_caller", 1)
	return unread{h, raw, ask}, refused
}

// The broker must not compress its answers even if a client asks for that: gRPC would keep a
// compressed copy of each answer, which the broker does not count.
func TestUnreadCompressedAnswers(t *testing.T) {
	askForUnread(t, newWorld(t), "grpc-encoding", "gzip")
}

// When a connection is closed, gRPC discards some unread answers without freeing their buffers.
func TestUnreadAnswersOfAClosedConnection(t *testing.T) {
	w := newWorld(t)
	c, _ := askForUnread(t, w)
	_ = c.Close()
	mailer := authmaterialv1.NewBrokerServiceClient(w.dialWith(c.harness, plain()))
	c.eventually("there is room for batches", func() bool {
		runtime.GC()
		for range 100 {
			_, err := mailer.BatchGetAuthDecorations(with(t.Context(), "Bearer "+w.mailer.Reveal()),
				&authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: []string{"key-of-board"}})
			if err != nil {
				return false
			}
		}
		return true
	})
}

func TestUnreadAnswers(t *testing.T) {
	w := newWorld(t)
	c, refused := askForUnread(t, w)
	h, raw, ask := c.harness, c.rawClient, c.ask
	if err := getOver(with(t.Context(), "Bearer "+w.mailer.Reveal()), w.dialWith(h, plain())); err != nil {
		t.Errorf("another call: %v", err)
	}
	// The server accepts another batch for each answer that the client reads.
	_ = raw.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	_ = raw.framer.WriteWindowUpdate(0, 1<<30)
	deadline := time.Now().Add(20 * time.Second)
	for ended := refused; ended.code != uint32(codes.OK); {
		if ended.what != "status" || time.Now().After(deadline) {
			t.Fatalf("after the client has read all answers, the server sends %+v", ended)
		}
		ended = raw.end(ask())
	}
}
