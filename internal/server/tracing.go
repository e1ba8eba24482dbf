package server

import (
	"context"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/authmaterial/broker/internal/strategies"
)

// tracing makes a span of each call, and one of each token request. That of a token
// request begins a trace of its own, for it can outlive the call that starts it; it is
// linked to the span of that call. Nothing of the trace is sent to a provider.
type tracing struct {
	provider trace.TracerProvider
	tracer   trace.Tracer
}

// newTracing returns nil for a nil provider: its methods do nothing.
func newTracing(provider trace.TracerProvider) *tracing {
	if provider == nil {
		return nil
	}
	return &tracing{provider: provider, tracer: provider.Tracer("github.com/authmaterial/broker")}
}

// serverOptions has a gRPC server trace calls, but for those that ask for its health.
func (t *tracing) serverOptions() []grpc.ServerOption {
	if t == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(t.provider),
		otelgrpc.WithMeterProvider(noop.NewMeterProvider()),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithFilter(filters.Not(filters.HealthCheck())),
	))}
}

// starter is the key of a context's value: the span of the call that started a flight.
type starter struct{}

// flight has the context of a flight know the call that starts it.
func (t *tracing) flight(flight, call context.Context) context.Context {
	if t == nil {
		return flight
	}
	return context.WithValue(flight, starter{}, trace.SpanContextFromContext(call))
}

// tokenRequest begins the span of a token request, and returns what ends it. The context
// is that of a flight, and has no span. The new one has no part of the request itself.
func (t *tracing) tokenRequest(ctx context.Context, provider, authMethod string) (context.Context, func(strategies.TokenRequestEvent)) {
	if t == nil {
		return ctx, func(strategies.TokenRequestEvent) {}
	}
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("authmaterial.provider", provider), attribute.String("authmaterial.auth_method", authMethod)),
	}
	if call, ok := ctx.Value(starter{}).(trace.SpanContext); ok && call.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: call}))
	}
	ctx, span := t.tracer.Start(ctx, "token request", options...)
	return ctx, func(event strategies.TokenRequestEvent) { end(span, event) }
}

// end ends the span of a token request with what came of that.
func end(span trace.Span, event strategies.TokenRequestEvent) {
	span.SetAttributes(attribute.String("authmaterial.result", string(event.Result)))
	if event.Status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", event.Status))
	}
	if event.Err != nil {
		span.SetStatus(codes.Error, event.Err.Message)
	}
	span.End()
}
