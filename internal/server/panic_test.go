package server_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc/codes"

	"github.com/authmaterial/broker/internal/server"
)

// The panic value of these tests must appear neither in the log nor in errors.
const inside = "canary of a panic"

type brokenClock struct {
	clockwork.Clock
	broken atomic.Bool
}

func (c *brokenClock) Now() time.Time {
	if c.broken.Load() {
		panic(inside)
	}
	return c.Clock.Now()
}

type brokenTransport struct {
	http.RoundTripper
	broken atomic.Bool
}

func (b *brokenTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if b.broken.Load() {
		panic(inside)
	}
	return b.RoundTripper.RoundTrip(request)
}

func TestPanicInACall(t *testing.T) {
	clock := &brokenClock{Clock: clockwork.NewRealClock()}
	h := serve(t, func(o *server.Options) { o.Clock = clock })
	clock.broken.Store(true)
	err := h.get("key-of-board")
	clock.broken.Store(false)
	h.wantError(err, codes.Internal, "INTERNAL", "internal error")
	h.wantPanicLogged("panic in a call", "brokenClock).Now")
	want := []line{{
		"level": "ERROR", "method": "/authmaterial.v1.BrokerService/GetAuthDecoration", "code": "Internal",
		"credential_id": "key-of-board", "reason": "INTERNAL", "message": "internal error",
	}}
	if diff := cmp.Diff(want, h.calls()); diff != "" {
		t.Errorf("the lines of the log (-want +got):\n%s", diff)
	}
	_, _, text := h.fetch("/metrics")
	if !strings.Contains(text, `grpc_server_handled_total{grpc_code="Internal",grpc_method="GetAuthDecoration",grpc_service="authmaterial.v1.BrokerService",grpc_type="unary"} 1`) {
		t.Error("/metrics does not count the panic as an internal error")
	}
	if err := h.get("key-of-board"); err != nil {
		t.Errorf("the next call fails: %v", err)
	}
}

// TestPanicInATokenRequest makes a goroutine panic that belongs to no call.
func TestPanicInATokenRequest(t *testing.T) {
	transport := new(brokenTransport)
	h := serve(t, func(o *server.Options) {
		transport.RoundTripper = o.TokenTransport
		o.TokenTransport = transport
	})
	transport.broken.Store(true)
	err := h.get("token-of-mail")
	transport.broken.Store(false)
	h.wantError(err, codes.Internal, "INTERNAL", "internal error")
	h.wantPanicLogged("panic in a token request", "brokenTransport).RoundTrip")
	if err := h.server.ForgetFailures(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.get("token-of-mail"); err != nil {
		t.Errorf("the next call fails: %v", err)
	}
}

// wantPanicLogged checks that a log line names the code that panicked, but not the panic's value.
func (h harness) wantPanicLogged(message, where string) {
	h.Helper()
	lines := h.log.lines(h.T, message)
	if len(lines) != 1 {
		h.Fatalf("the log has %d lines %q, want 1", len(lines), message)
	}
	stack, _ := lines[0]["stack"].(string)
	if lines[0]["level"] != "ERROR" || lines[0]["type"] != "string" || !strings.Contains(stack, where) {
		h.Errorf("the log line has the level %v and the type %v, or its stack lacks %s", lines[0]["level"], lines[0]["type"], where)
	}
	if strings.Contains(h.log.String(), inside) {
		h.Error("the log contains the value of the panic")
	}
}
