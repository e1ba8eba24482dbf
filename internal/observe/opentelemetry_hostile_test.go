package observe_test

import (
	"log/slog"
	"testing"

	"github.com/authmaterial/broker/internal/observe"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/testing/peertest"
)

// TestHostileCollector sends spans to collectors whose answers are longer than they announce.
// OpenTelemetry reads at most 4 MiB of an answer. The headers of an answer are limited to 10 MiB by
// net/http, and to 16 MiB by gRPC.
func TestHostileCollector(t *testing.T) {
	for name, answer := range peertest.Answers() {
		t.Run("HTTP "+name, func(t *testing.T) { wantStopped(t, "http/protobuf", peertest.Serve(t, answer)) })
	}
	for name, answer := range peertest.HTTP2Answers() {
		t.Run("gRPC "+name, func(t *testing.T) { wantStopped(t, "grpc", peertest.ServeHTTP2(t, answer)) })
	}
}

// wantStopped checks that Stop returns. Stop may try twice to send a span.
func wantStopped(t *testing.T, protocol, address string) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+address)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "500")
	peertest.WantAllocated(t, 320<<20, func() {
		traces := observe.Start(t.Context(), "test", slog.New(slog.DiscardHandler))
		_, end := traces.TokenRequest(t.Context(), "a provider", "a method")
		end(strategies.TokenRequestEvent{})
		traces.Stop()
	})
}
