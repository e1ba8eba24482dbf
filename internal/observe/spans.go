package observe

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
	"google.golang.org/grpc/stats"

	"github.com/authmaterial/broker/internal/strategies"
)

// ServerOptions makes a gRPC server trace its calls, except those of the health service.
func (t *Traces) ServerOptions() []grpc.ServerOption {
	if t == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.StatsHandler(t.handler(otelgrpc.WithFilter(filters.Not(filters.HealthCheck()))))}
}

// HTTP returns a handler that traces the calls of rpc.Service over HTTP, or nil if there are no
// traces. The spans have the attributes of gRPC calls, but another value of rpc.system.name.
func (t *Traces) HTTP() stats.Handler {
	if t == nil {
		return nil
	}
	return t.handler(otelgrpc.WithSpanAttributes(attribute.String("rpc.system.name", "connectrpc")))
}

func (t *Traces) handler(options ...otelgrpc.Option) stats.Handler {
	return otelgrpc.NewServerHandler(append(options,
		otelgrpc.WithTracerProvider(t.provider),
		otelgrpc.WithMeterProvider(noop.NewMeterProvider()),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
	)...)
}

// TraceID returns the ID of a call's trace, or an empty string if there is none.
func TraceID(ctx context.Context) string {
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		return span.TraceID().String()
	}
	return ""
}

// callKey is the context key for the trace.SpanContext of the call that started a flight (see
// Flight).
type callKey struct{}

// Flight returns a context for a flight, which is work whose result several calls share, such as a
// token request. The context contains the trace.SpanContext of the call that started the flight.
func (t *Traces) Flight(flight, call context.Context) context.Context {
	if t == nil {
		return flight
	}
	return context.WithValue(flight, callKey{}, trace.SpanContextFromContext(call))
}

// TokenRequest begins the span of a token request, and returns the function that ends it. The span
// begins a new trace, because a token request can outlive the call that caused it. The span is
// linked to the span of the call. The provider receives no trace ID.
func (t *Traces) TokenRequest(
	ctx context.Context, provider, authMethod string,
) (context.Context, func(strategies.TokenRequestEvent)) {
	if t == nil {
		return ctx, func(strategies.TokenRequestEvent) {}
	}
	var links []trace.Link
	if call, ok := ctx.Value(callKey{}).(trace.SpanContext); ok && call.IsValid() {
		links = []trace.Link{{SpanContext: call}}
	}
	ctx, span := t.provider.Tracer("github.com/authmaterial/broker").Start(ctx, "token request",
		trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links...), trace.WithAttributes(
			attribute.String("authmaterial.provider", provider),
			attribute.String("authmaterial.auth_method", authMethod)))
	return ctx, func(event strategies.TokenRequestEvent) {
		span.SetAttributes(attribute.String("authmaterial.result", requestResult(event)))
		if event.Status != 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", event.Status))
		}
		if event.Err != nil {
			span.SetStatus(codes.Error, event.Err.Message)
		}
		span.End()
	}
}
