// Package observe shows operators what the broker does: metrics, spans, and log lines about calls
// and tokens. It also sets up OpenTelemetry, which sends the spans.
package observe

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// flushTimeout bounds how long Stop waits for the collector.
const flushTimeout = 5 * time.Second

// Traces are where spans go. Stop ends them.
type Traces struct {
	provider *sdktrace.TracerProvider // nil: nowhere
}

// Start reads the environment. A variable that is not understood is logged by its name, without
// its value, and costs traces at most: platforms set these variables for every process. What
// goes wrong later is logged too.
func Start(ctx context.Context, version string, logger *slog.Logger) *Traces {
	otel.SetLogger(logr.New(sink{logger}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.Warn("traces are not sent", "problem", why(err))
	}))
	if !wanted(logger) || !understood(logger) {
		return &Traces{}
	}
	exporter, err := newExporter(ctx)
	if err != nil {
		logger.Warn("traces are not sent: OpenTelemetry does not accept the variables OTEL_EXPORTER_OTLP_*", "type", fmt.Sprintf("%T", err))
		return &Traces{}
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "authmaterial-broker"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv())
	if err != nil { // described has the rest
		logger.Warn("traces lack some of the attributes that describe this process", "type", fmt.Sprintf("%T", err))
	}
	return &Traces{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))}
}

// Check logs the variables that Start would not understand. It starts nothing.
func Check(logger *slog.Logger) {
	if wanted(logger) {
		understood(logger)
	}
}

// Provider is where to make spans, or nil when none are wanted.
func (t *Traces) Provider() trace.TracerProvider {
	if t.provider == nil {
		return nil
	}
	return t.provider
}

// Stop sends what was not sent yet, for 5 seconds at most.
func (t *Traces) Stop() {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// wanted reports whether the environment asks for traces.
func wanted(logger *slog.Logger) bool {
	switch disabled := strings.TrimSpace(os.Getenv("OTEL_SDK_DISABLED")); {
	case strings.EqualFold(disabled, "true"):
		return false
	case disabled != "" && !strings.EqualFold(disabled, "false"):
		logger.Warn("an environment variable of OpenTelemetry is ignored", "variable", "OTEL_SDK_DISABLED", "problem", "it must be true or false")
	}
	exporters := strings.TrimSpace(os.Getenv("OTEL_TRACES_EXPORTER"))
	if exporters == "" {
		return either(otlpTracesPrefix+"ENDPOINT", otlpPrefix+"ENDPOINT") != ""
	}
	var sends, others bool
	for name := range strings.SplitSeq(exporters, ",") {
		switch strings.TrimSpace(name) {
		case "otlp":
			sends = true
		case "none":
		default:
			others = true
		}
	}
	if others {
		logger.Warn("traces are not sent to every exporter that the environment names", "variable", "OTEL_TRACES_EXPORTER", "problem", "it must be otlp or none")
	}
	return sends
}

// understood reports whether traces can be sent as the environment asks. A variable that is
// not understood and has a default is unset, so that OpenTelemetry uses the default: some
// values would have it panic, and others be printed. An overridden variable is unset too:
// OpenTelemetry would read the file that it names.
func understood(logger *slog.Logger) bool {
	all := true
	for _, v := range variables() {
		value := strings.TrimSpace(os.Getenv(v.name))
		if value != "" && v.overridden() {
			_ = os.Unsetenv(v.name)
			continue
		}
		if value == "" || v.valid(value) {
			continue
		}
		if v.needed {
			all = false
			logger.Warn("traces are not sent because of an environment variable", "variable", v.name, "problem", "it must "+v.must)
			continue
		}
		_ = os.Unsetenv(v.name)
		logger.Warn("an environment variable of OpenTelemetry is ignored", "variable", v.name, "problem", "it must "+v.must)
	}
	return all
}

// newExporter returns an exporter for the protocol that the environment names. The exporter
// itself reads the other variables.
func newExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if protocol() == "grpc" {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

// either returns the first of these variables that is set.
func either(names ...string) string {
	for _, name := range names {
		if value := strings.TrimSpace(os.Getenv(name)); value != "" {
			return value
		}
	}
	return ""
}
