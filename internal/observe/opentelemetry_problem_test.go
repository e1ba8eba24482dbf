package observe_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/observe"
	"github.com/authmaterial/broker/internal/strategies"
)

const canary = "canary-8d20"

// In TestProblemsQuoteNothing, the URL, the headers and the collector's answer contain the text
// `canary`, which the log must not quote.
func TestProblemsQuoteNothing(t *testing.T) {
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, canary, http.StatusBadRequest)
	}))
	defer collector.Close()
	for name, test := range map[string]struct{ endpoint, headers, protocol, want string }{
		"nobody listens":   {endpoint: "http://user:" + canary + "@127.0.0.1:1/" + canary + "?key=" + canary, want: "the collector refused the connection"},
		"an answer":        {endpoint: collector.URL + "/" + canary, headers: "api-key=" + canary, want: "does not accept spans"},
		"broken header":    {endpoint: collector.URL, headers: "api key=" + canary, want: "OpenTelemetry reports a problem"},
		"gRPC":             {endpoint: "http://user:" + canary + "@127.0.0.1:1/" + canary, protocol: "grpc", want: "traces are not sent"},
		"unknown protocol": {endpoint: collector.URL, protocol: canary, want: "must be grpc or http/protobuf"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", test.endpoint)
			t.Setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", test.headers)
			t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", test.protocol)
			if test.protocol == "grpc" { // gRPC retries until its timeout
				t.Setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "500")
			}
			var log bytes.Buffer
			traces := observe.Start(t.Context(), "test", slog.New(slog.NewTextHandler(&log, nil)))
			_, end := traces.TokenRequest(t.Context(), "a provider", "a method")
			end(strategies.TokenRequestEvent{})
			traces.Stop()
			if !strings.Contains(log.String(), test.want) {
				t.Errorf("the log lacks %q", test.want)
			}
			if strings.Contains(log.String(), canary) {
				t.Error("the log quotes the text `canary`")
			}
		})
	}
}
