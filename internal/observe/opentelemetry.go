package observe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// flushTimeout is how long Stop waits for the trace collector.
const flushTimeout = 5 * time.Second

// Traces creates trace spans and sends them to a collector. On a nil *Traces, all methods do
// nothing.
type Traces struct{ provider *sdktrace.TracerProvider }

// Start reads the standard environment variables of OpenTelemetry, and returns nil unless they ask
// for traces. For each invalid variable, Start logs the name without the value. An invalid variable
// never prevents the broker from starting, because platforms set these variables for every process.
// Problems with the collector are logged when they occur.
func Start(ctx context.Context, version string, logger *slog.Logger) *Traces {
	otel.SetLogger(logr.New(sink{logger}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.Warn("traces are not sent", "problem", describe(err))
	}))
	if !wanted(logger) || !checkVariables(logger) {
		return nil
	}
	exporter, err := newExporter(ctx)
	if err != nil {
		logger.Warn("traces are not sent: OpenTelemetry does not accept the variables OTEL_EXPORTER_OTLP_*",
			"type", fmt.Sprintf("%T", err))
		return nil
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "authmaterial-broker")),
		resource.WithAttributes(attribute.String("service.version", version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv())
	if err != nil { // the attributes that could be read are used in spite of the error
		logger.Warn("traces lack some of the attributes that describe this process", "type", fmt.Sprintf("%T", err))
	}
	return &Traces{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))}
}

// Check logs the invalid variables as Start does, but sends no traces.
func Check(logger *slog.Logger) {
	if wanted(logger) {
		checkVariables(logger)
	}
}

// Stop sends the remaining spans, for at most 5 seconds.
func (t *Traces) Stop() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// `wanted` reports whether the environment variables ask for traces.
func wanted(logger *slog.Logger) bool {
	disabled, exporters := firstSet("OTEL_SDK_DISABLED"), firstSet("OTEL_TRACES_EXPORTER")
	if strings.EqualFold(disabled, "true") {
		return false
	}
	if disabled != "" && !isBool(disabled) {
		variable{name: "OTEL_SDK_DISABLED", must: "the value must be true or false"}.logIgnored(logger)
	}
	if exporters == "" {
		return firstSet(otlpTracesPrefix+"ENDPOINT", otlpPrefix+"ENDPOINT") != ""
	}
	sends := false
	for name := range strings.SplitSeq(exporters, ",") {
		switch strings.TrimSpace(name) {
		case "otlp":
			sends = true
		case "none":
		default:
			logger.Warn("traces are not sent to an exporter that the environment names",
				"variable", "OTEL_TRACES_EXPORTER", "problem", "the value must be otlp or none")
		}
	}
	return sends
}

// newExporter returns an exporter for the protocol that an environment variable names. The exporter
// itself reads the other environment variables.
func newExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if protocol() == "grpc" {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

func firstSet(names ...string) string {
	for _, name := range names {
		if value := strings.TrimSpace(os.Getenv(name)); value != "" {
			return value
		}
	}
	return ""
}

// describe returns the reason why spans were not sent. The error itself is not quoted, because
// errors contain the endpoint's URL and the collector's answer, which may contain secrets.
func describe(err error) string {
	var (
		lookup      *net.DNSError
		certificate *tls.CertificateVerificationError
		timeout     net.Error
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "the collector did not answer in time"
	case errors.As(err, &lookup):
		return "the collector's host name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the collector refused the connection"
	case errors.As(err, &certificate):
		return "the collector's certificate is not valid, or is signed by an unknown authority"
	default:
		return "the collector cannot be reached, or does not accept spans"
	}
}

// sink logs the problems that OpenTelemetry reports about itself. sink does not log the values of
// environment variables, because they include headers with keys of the collector.
type sink struct{ logger *slog.Logger }

func (sink) Init(logr.RuntimeInfo)            {}
func (sink) Enabled(int) bool                 { return false }
func (sink) Info(int, string, ...any)         {}
func (s sink) WithValues(...any) logr.LogSink { return s }
func (s sink) WithName(string) logr.LogSink   { return s }
func (s sink) Error(_ error, text string, _ ...any) {
	s.logger.Warn("OpenTelemetry reports a problem, such as with its environment variables", "problem", text)
}
