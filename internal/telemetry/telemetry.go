// Package telemetry sends traces, when the standard variables of OpenTelemetry in the
// environment say where to. Otherwise it starts nothing.
package telemetry

import (
	"context"
	"errors"
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

// Start reads the environment. What goes wrong later is logged.
func Start(ctx context.Context, version string, logger *slog.Logger) (*Traces, error) {
	otel.SetLogger(logr.New(sink{logger}))
	exporter, err := newExporter(ctx)
	if exporter == nil || err != nil {
		return &Traces{}, err
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "authmaterial-broker"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.Warn("traces are not sent", "problem", why(err))
	}))
	return &Traces{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))}, nil
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

// newExporter returns the exporter that the environment asks for, or nil. It reads what
// says whether and how; the exporter itself reads where to, and the rest.
func newExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return nil, nil //nolint:nilnil // none is wanted
	}
	switch name := os.Getenv("OTEL_TRACES_EXPORTER"); name {
	case "otlp":
	case "":
		if either("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") == "" {
			return nil, nil //nolint:nilnil // nothing is said of traces
		}
	case "none":
		return nil, nil //nolint:nilnil // none is wanted
	default:
		return nil, errors.New("OTEL_TRACES_EXPORTER must be otlp or none")
	}
	switch either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL") {
	case "grpc":
		return otlptracegrpc.New(ctx)
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	default:
		return nil, errors.New("OTEL_EXPORTER_OTLP_PROTOCOL must be grpc or http/protobuf")
	}
}

// either returns the first of these variables that is set.
func either(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}
