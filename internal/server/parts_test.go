package server_test

import (
	"path/filepath"
	"slices"
	"strings"
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

// TestConcurrentCalls has one connection take all calls that there may be. Another gets its
// part all the same, and not more.
func TestConcurrentCalls(t *testing.T) {
	h := newWorld(t).limited("concurrent_calls: 4")
	greedy := h.rawConnect(nil)
	var open []uint32
	for range 4 {
		open = append(open, greedy.open("GetAuthDecoration"))
	}
	h.awaitStarted(4)
	greedy.wantStatus(greedy.get(), codes.ResourceExhausted)
	h.wantLimited("concurrent_calls", 1)

	for range 2 {
		if err := h.get("key-of-board"); err != nil {
			t.Errorf("another connection: %v", err)
		}
		if _, err := watchOver(t.Context(), h.conn); err != nil {
			t.Errorf("its watch: %v", err)
		}
	}
	var trailer metadata.MD
	_, err := h.client().GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "key-of-board"}, grpc.Trailer(&trailer))
	wantRateLimited(t, err, trailer)
	greedy.wantStatus(greedy.get(), codes.ResourceExhausted)

	// What ends makes room.
	for _, stream := range open {
		greedy.send(stream, nil, 0)
		greedy.wantStatus(stream, codes.InvalidArgument)
	}
	if err := h.get("key-of-board"); err != nil {
		t.Errorf("when calls have ended: %v", err)
	}
	greedy.wantStatus(greedy.get(), codes.OK)
}

// TestGreediestGivesWay has two connections take one and a half times the calls that there may
// be. For another one that asks for little, the one with most is closed.
func TestGreediestGivesWay(t *testing.T) {
	h := newWorld(t).limited("concurrent_calls: 16")
	var greediest, modest *rawClient
	begun := 0
	for _, calls := range []int{16, 8} {
		modest = h.rawConnect(nil)
		if greediest == nil {
			greediest = modest
		}
		for range calls {
			modest.open("GetAuthDecoration")
		}
		begun += calls
		h.awaitStarted(begun)
	}
	if err := h.get("key-of-board"); err != nil {
		t.Errorf("a third connection: %v", err)
	}
	greediest.want("closed", 0, 0)
	h.wantLimited("concurrent_calls", 1)
	modest.wantStatus(modest.get(), codes.OK)
}

// TestUserAtASocket has one user take all calls that there may be. Its other connections get
// none.
func TestUserAtASocket(t *testing.T) {
	h := newWorld(t).serve("\nlimits: {concurrent_calls: 4}\n", listen(t, unix(filepath.Join(socketFolder(t), "grpc")), 0o600))
	greedy := h.rawConnect(nil)
	for range 4 {
		greedy.open("GetAuthDecoration")
	}
	h.awaitStarted(4)
	other := h.rawConnect(nil)
	other.wantStatus(other.get(), codes.ResourceExhausted)
	h.wantLimited("concurrent_calls", 1)
}

// TestHealthKeepsNobodyOut has a client watch the broker's health as often as it may.
func TestHealthKeepsNobodyOut(t *testing.T) {
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
		t.Errorf("a call beside them: %v", err)
	}
}

// TestMemoryOfAConnection has a client open calls with large headers. It is cut off before
// there are as many calls as there may be, and another one is answered.
func TestMemoryOfAConnection(t *testing.T) {
	h := newWorld(t).limited("concurrent_calls: 100")
	raw := h.rawConnect(nil)
	for range 99 {
		raw.open("GetAuthDecoration", "x", strings.Repeat("x", 15<<10))
	}
	raw.want("closed", 0, 0)
	h.wantLimited("memory", 1)
	if err := h.get("key-of-board"); err != nil {
		t.Errorf("another connection: %v", err)
	}
}

// TestAnswersThatAreNotRead has a client ask, and let the server send no answer.
func TestAnswersThatAreNotRead(t *testing.T) {
	h := newWorld(t).limited("concurrent_calls: 100")
	raw := h.rawConnect(nil)
	_ = raw.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	batch := &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: slices.Repeat([]string{"key-of-board"}, 100)}
	message, err := proto.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	refused := event{what: "answer"}
	for sent := 0; refused.what == "answer" && sent < 99; sent++ {
		raw.send(raw.open("BatchGetAuthDecorations"), message, len(message))
		refused = raw.next()
	}
	if refused.what != "status" || refused.code != uint32(codes.ResourceExhausted) {
		t.Fatalf("the server says %+v", refused)
	}
	if _, err := h.client().BatchGetAuthDecorations(t.Context(), batch); err != nil {
		t.Errorf("another connection: %v", err)
	}
	// What the client takes makes room.
	_ = raw.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	_ = raw.framer.WriteWindowUpdate(0, 1<<30)
	deadline := time.Now().Add(20 * time.Second)
	for ended := refused; ended.code != uint32(codes.OK); {
		if ended.what != "status" || time.Now().After(deadline) {
			t.Fatalf("after all was read the server says %+v", ended)
		}
		again := raw.open("BatchGetAuthDecorations")
		raw.send(again, message, len(message))
		ended = raw.end(again)
	}
}
