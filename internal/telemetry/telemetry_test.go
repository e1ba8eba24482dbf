package telemetry_test

import (
	"log/slog"
	"testing"

	"github.com/authmaterial/broker/internal/telemetry"
)

// endpoint is where nothing listens. An exporter connects when there is something to send.
const endpoint = "http://127.0.0.1:1"

func TestStart(t *testing.T) {
	for name, test := range map[string]struct {
		environment map[string]string
		sends       bool
		problem     string
	}{
		"nothing said":   {},
		"an endpoint":    {environment: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, sends: true},
		"one for traces": {environment: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}, sends: true},
		"an exporter":    {environment: map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, sends: true},
		"over gRPC":      {environment: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, sends: true},
		"none":           {environment: map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}},
		"disabled":       {environment: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}},
		"an unknown one": {environment: map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, problem: "OTEL_TRACES_EXPORTER must be otlp or none"},
		"an unknown protocol": {
			environment: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
			problem:     "OTEL_EXPORTER_OTLP_PROTOCOL must be grpc or http/protobuf",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for variable, value := range test.environment {
				t.Setenv(variable, value)
			}
			traces, err := telemetry.Start(t.Context(), "test", slog.New(slog.DiscardHandler))
			if test.problem != "" {
				if err == nil || err.Error() != test.problem {
					t.Errorf("the error is %v, want %s", err, test.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if sends := traces.Provider() != nil; sends != test.sends {
				t.Errorf("traces are sent: %v, want %v", sends, test.sends)
			}
			traces.Stop()
		})
	}
}
