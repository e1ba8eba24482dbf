package server_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/net/http2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/server"
)

func (w world) limited(limits string) harness {
	w.Helper()
	return w.serve("\nlimits: {"+limits+"}\n", listenTCP(w.T))
}

// wantLimited checks that the broker counted and logged refusals for the given limit only.
func (h harness) wantLimited(limit string, times int) {
	h.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, _, text := h.fetch("/metrics")
		var found []string
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "authmaterial_limited_total{") && !strings.HasSuffix(line, " 0\n") {
				found = append(found, strings.TrimSpace(line))
			}
		}
		want := []string{fmt.Sprintf("authmaterial_limited_total{limit=%q} %d", limit, times)}
		if slices.Equal(found, want) {
			break
		}
		if time.Now().After(deadline) {
			h.Fatalf("the metrics are %q, want %q", found, want)
		}
		<-time.After(10 * time.Millisecond)
	}
	for {
		lines := h.log.lines(h.T, "a limit was reached; the metric authmaterial_limited_total counts how often")
		if len(lines) == 1 && lines[0]["limit"] == limit {
			return
		}
		if len(lines) > 0 || time.Now().After(deadline) {
			h.Fatalf("the log lines about limits are %v, want one line", lines)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// wantRateLimited checks that a call was refused with the reason RATE_LIMITED and the details that
// the API promises, and returns the retry delay.
func wantRateLimited(t *testing.T, err error, trailer metadata.MD) time.Duration {
	t.Helper()
	got := status.Convert(err)
	if got.Code() != codes.ResourceExhausted || len(got.Details()) != 2 {
		t.Fatalf("the error is %v with %d details, want RATE_LIMITED", err, len(got.Details()))
	}
	info, _ := got.Details()[0].(*errdetails.ErrorInfo)
	retry, _ := got.Details()[1].(*errdetails.RetryInfo)
	if info.GetReason() != "RATE_LIMITED" || info.GetDomain() != "authmaterial" || retry.GetRetryDelay().AsDuration() <= 0 {
		t.Errorf("the error's details are the reason %s and the retry delay %v", info.GetReason(), retry.GetRetryDelay().AsDuration())
	}
	if trailer != nil && len(trailer.Get("grpc-retry-pushback-ms")) != 1 {
		t.Error("the trailer grpc-retry-pushback-ms is missing")
	}
	return retry.GetRetryDelay().AsDuration()
}

func (h harness) awaitStarted(n int) {
	h.Helper()
	want := fmt.Sprintf(`grpc_server_started_total{grpc_method="GetAuthDecoration",grpc_service=%q,`, brokerService)
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, _, text := h.fetch("/metrics")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, want) && strings.HasSuffix(line, fmt.Sprintf(" %d\n", n)) {
				return
			}
		}
		if time.Now().After(deadline) {
			h.Fatalf("the server has not begun %d calls", n)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestMessageSizeLimit(t *testing.T) {
	h := newWorld(t).limited("message_bytes: 16384")
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprintf("%0128d", i))
	}
	if _, err := h.client().BatchGetAuthDecorations(t.Context(), &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: ids}); err != nil {
		t.Errorf("the largest valid batch fails: %v", err)
	}
	long := strings.Repeat("x", 16<<10)
	if err := h.get(long); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the error of a call with a large message is %v", err)
	}
	h.wantLimited("message_bytes", 1)
	watch, err := h.client().WatchAuthDecorations(t.Context(), &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{long}})
	if err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the error of a watch with a large message is %v", err)
	}
	h.wantLimited("message_bytes", 2)
	// The server refuses a message by its announced size, before the content arrives.
	raw := h.rawConnect(nil)
	stream := raw.open("GetAuthDecoration")
	raw.send(stream, nil, 1<<30)
	raw.wantStatus(stream, codes.ResourceExhausted)
	h.wantLimited("message_bytes", 3)
	if lines := h.log.lines(t, "call"); len(lines) != 0 {
		t.Errorf("the log has lines about refused calls: %v", lines)
	}
}

func TestHeaderSizeLimit(t *testing.T) {
	h := newWorld(t).limited("header_bytes: 8192")
	raw := h.rawConnect(nil)
	raw.wantStatus(raw.get("x", strings.Repeat("x", 7<<10)), codes.OK)
	raw.wantStatus(raw.get("x", strings.Repeat("x", 8<<10)), codes.InvalidArgument)
	h.wantLimited("header_bytes", 1)
	raw.wantStatus(raw.get(), codes.OK)
}

// Calls with more metadata than header_bytes allows, in one header or in several, are refused and
// counted, and a watch on the same connection continues.
func TestLargeHeadersBesideAWatch(t *testing.T) {
	w := newWorld(t)
	settings := func(granted string) string {
		return "\nlimits: {header_bytes: 16384}\ngrants: [{callers: [local], credentials: [" + granted + "]}]\n"
	}
	h := w.serve(settings("key-of-board"), listenTCP(t))
	var opened atomic.Int64
	connection := w.dialWith(h, plain(), grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		opened.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}))
	watch, err := watchOver(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	for i, headers := range []metadata.MD{
		{"x": {strings.Repeat("~", 18<<10)}}, // header compression does not shorten these values
		{"x": slices.Repeat([]string{strings.Repeat("~", 1<<10)}, 18)},
		{"x": {strings.Repeat("~", 60<<10)}},
		{"authorization": {"Bearer " + strings.Repeat("~", 18<<10)}},
	} {
		err := getOver(metadata.NewOutgoingContext(t.Context(), headers), connection)
		if got := status.Convert(err); got.Code() != codes.InvalidArgument || got.Message() != "the headers of the call are too large" {
			t.Errorf("for the set of headers with number %d, the error is %v", i, err)
		}
		h.wantLimited("header_bytes", i+1)
	}
	if err := getOver(t.Context(), connection); err != nil {
		t.Error(err)
	}
	if err := w.reload(h, settings("token-of-mail")); err != nil {
		t.Fatal(err)
	}
	if state, err := watch.Recv(); err != nil || state.GetError().GetReason() != authmaterialv1.ErrorReason_ERROR_REASON_ACCESS_DENIED {
		t.Errorf("the watch has ended, or reports a wrong state: %v", err)
	}
	if got := opened.Load(); got != 1 {
		t.Errorf("the client opened %d connections, want 1", got)
	}
}

func TestHeaderCountLimit(t *testing.T) {
	h := newWorld(t).limited("header_bytes: 16384")
	raw := h.rawConnect(nil)
	raw.wantStatus(raw.get(slices.Repeat([]string{"x", ""}, 60)...), codes.OK)
	raw.wantStatus(raw.get(slices.Repeat([]string{"x", ""}, 65)...), codes.InvalidArgument)
	h.wantLimited("header_bytes", 1)
	raw.wantStatus(raw.get(), codes.OK)
}

// The log must not show invalid messages, or two messages in a call that allows one, as errors of
// the broker.
func TestMalformedMessages(t *testing.T) {
	h := newWorld(t).limited("concurrent_calls: 100")
	raw := h.rawConnect(nil)
	for _, method := range []string{"GetAuthDecoration", "WatchAuthDecorations"} {
		nonsense := raw.open(method)
		raw.send(nonsense, []byte{0xff, 0xff}, 2)
		raw.wantStatus(nonsense, codes.Internal)
		two := raw.open(method)
		raw.send(two, make([]byte, 5), 0)
		raw.wantStatus(two, codes.Internal)
	}
	raw.wantStatus(raw.get(), codes.OK)
	if lines := h.log.lines(t, "call"); len(lines) != 0 {
		t.Errorf("the log has lines about malformed messages: %v", lines)
	}
}

func TestStreamsOfAConnection(t *testing.T) {
	h := newWorld(t).limited("streams_per_connection: 2")
	raw := h.rawConnect(nil)
	first, second := raw.open("GetAuthDecoration"), raw.open("GetAuthDecoration")
	raw.want("reset", raw.get(), uint32(http2.ErrCodeRefusedStream))
	raw.send(first, nil, 0)
	raw.wantStatus(first, codes.InvalidArgument)
	raw.wantStatus(raw.get(), codes.OK)
	raw.send(second, nil, 0)
	raw.wantStatus(second, codes.InvalidArgument)
}

func TestPingsOfAClient(t *testing.T) {
	h := newWorld(t).limited("")
	raw := h.rawConnect(nil)
	for range 5 {
		_ = raw.framer.WritePing(false, [8]byte{})
	}
	raw.want("goaway", 0, uint32(http2.ErrCodeEnhanceYourCalm))
	raw.want("closed", 0, 0)
}

func TestConnectionsOfAListener(t *testing.T) {
	h := newWorld(t).limited("connections: 2") // one of them is the harness's own
	raw := h.rawConnect(nil)
	raw.wantStatus(raw.get(), codes.OK)
	refused := h.rawConnect(nil)
	refused.want("closed", 0, 0)
	h.wantLimited("connections", 1)
	raw.wantStatus(raw.get(), codes.OK)
	_ = raw.Close()
	deadline := time.Now().Add(20 * time.Second)
	for again := h.rawConnect(nil); ; again = h.rawConnect(nil) {
		stream := again.get()
		if e := again.end(stream); e == (event{"status", stream, uint32(codes.OK)}) {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("after a connection was closed, the server answers a new connection with %+v", e)
		}
	}
}

// tokens returns a configuration with a static token of the caller `mailer`, and with the given
// static tokens.
func (w world) tokens(more ...string) string {
	return "\nauthentication: {tokens: [" + staticToken("mailer", w.mailer) + strings.Join(more, "") + "]}\n" + everybody
}

func TestWatchesOfACaller(t *testing.T) {
	w := newWorld(t)
	other := authentication.GenerateToken()
	h := w.serve(w.tokens(", "+staticToken("other", other))+"limits: {watches_per_caller: 2}\n", listenTCP(t))
	mailer := with(t.Context(), "Bearer "+w.mailer.Reveal())
	begin := func(ctx context.Context) error {
		_, err := watchOver(ctx, w.dialWith(h, plain()))
		return err
	}
	first, end := context.WithCancel(mailer)
	for _, ctx := range []context.Context{first, mailer} {
		if err := begin(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if wait := wantRateLimited(t, begin(mailer), nil); wait != time.Minute {
		t.Errorf("the retry delay is %v", wait)
	}
	h.wantLimited("watches_per_caller", 1)
	if err := begin(with(t.Context(), "Bearer "+other.Reveal())); err != nil {
		t.Errorf("another caller: %v", err)
	}
	if err := getOver(mailer, w.dialWith(h, plain())); err != nil {
		t.Errorf("another call: %v", err)
	}
	end()
	deadline := time.Now().Add(20 * time.Second)
	for err := begin(mailer); err != nil; err = begin(mailer) {
		if time.Now().After(deadline) {
			t.Fatalf("a new watch after the end of another watch fails: %v", err)
		}
	}
}

func TestCallsOfACaller(t *testing.T) {
	w := newWorld(t)
	other := authentication.GenerateToken()
	clock := clockwork.NewFakeClockAt(time.Now())
	h := w.serve(w.tokens(", "+staticToken("other", other))+"limits: {calls_per_second: 10, call_burst: 100}\n", listenTCP(t),
		func(o *server.Options) { o.Clock = clock })
	mailer := with(t.Context(), "Bearer "+w.mailer.Reveal())
	connection := w.dialWith(h, plain())
	batch := func(n int) error {
		_, err := authmaterialv1.NewBrokerServiceClient(connection).BatchGetAuthDecorations(mailer,
			&authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: slices.Repeat([]string{"key-of-board"}, n)})
		return err
	}
	for range 30 {
		if err := getOver(mailer, connection); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch(69); err != nil {
		t.Fatal(err)
	}
	if wait := wantRateLimited(t, batch(3), nil); wait != 200*time.Millisecond {
		t.Errorf("for two calls over the limit, the retry delay is %v", wait)
	}
	// Refused calls do not count, so one more call is allowed.
	if err := getOver(mailer, connection); err != nil {
		t.Errorf("the hundredth call fails: %v", err)
	}
	if wait := wantRateLimited(t, getOver(mailer, connection), nil); wait != 100*time.Millisecond {
		t.Errorf("the retry delay is %v", wait)
	}
	_, err := watchOver(mailer, connection)
	wantRateLimited(t, err, nil)
	h.wantLimited("calls_per_second", 3)
	if err := getOver(with(t.Context(), "Bearer "+other.Reveal()), connection); err != nil {
		t.Errorf("another caller: %v", err)
	}
	if lines := h.log.lines(t, "call"); len(lines) != 0 {
		t.Errorf("the log has lines about refused calls: %v", lines)
	}
	clock.Advance(100 * time.Millisecond)
	if err := getOver(mailer, connection); err != nil {
		t.Errorf("a call after 100 ms fails: %v", err)
	}
	clock.Advance(time.Hour)
	if err := batch(100); err != nil {
		t.Errorf("after an hour, a batch of the largest allowed size fails: %v", err)
	}
	wantRateLimited(t, batch(1), nil)
}

// The limits for each caller do not apply to unauthenticated callers.
func TestLocalCallersShareNoLimit(t *testing.T) {
	h := newWorld(t).limited("calls_per_second: 1, call_burst: 100, watches_per_caller: 1")
	for range 150 {
		if err := h.get("key-of-board"); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := watchOver(t.Context(), h.conn); err != nil {
			t.Fatal(err)
		}
	}
}
