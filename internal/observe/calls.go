package observe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/rpc"
)

// callMetrics are the metrics about calls, by method. The metrics have the same names and labels as
// the metrics of go-grpc-middleware, so that existing dashboards work;
// docs/adr/0020-one-function-per-call.md explains why the broker has its own implementation.
type callMetrics struct {
	started, handled, received, sent *prometheus.CounterVec
	seconds                          *prometheus.HistogramVec
}

func newCallMetrics(m metrics) callMetrics {
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	return callMetrics{
		started: m.counters("grpc_server_started_total", "Calls that have begun.", labels...),
		handled: m.counters("grpc_server_handled_total", "Calls that have ended, by gRPC code.",
			"grpc_type", "grpc_service", "grpc_method", "grpc_code"),
		received: m.counters("grpc_server_msg_received_total", "Messages received.", labels...),
		sent:     m.counters("grpc_server_msg_sent_total", "Messages sent.", labels...),
		seconds:  m.histograms("grpc_server_handling_seconds", "Duration of calls.", prometheus.DefBuckets, labels...),
	}
}

// Method returns the metrics of a method. The counters of a method are 0 until the first call.
func (o *Observer) Method(name string, stream bool) *rpc.MethodMetrics {
	kind := "unary"
	if stream {
		kind = "server_stream"
	}
	service, method, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	m := &rpc.MethodMetrics{
		Started:  o.calls.started.WithLabelValues(kind, service, method),
		Received: o.calls.received.WithLabelValues(kind, service, method),
		Sent:     o.calls.sent.WithLabelValues(kind, service, method),
		Seconds:  o.calls.seconds.WithLabelValues(kind, service, method),
	}
	for code := range m.Handled {
		m.Handled[code] = o.calls.handled.WithLabelValues(kind, service, method, codes.Code(code).String())
	}
	return m
}

// CallEnded logs a call that has ended. A successful call is logged at level debug. A failed call
// is usually logged at a higher level, unless there are too many log lines about failed calls.
// Requests and responses are never logged, because they contain secrets.
func (o *Observer) CallEnded(ctx context.Context, call rpc.Ended) {
	answer := status.Convert(call.Err)
	reason := reasonOf(answer)
	level := levelOf(answer.Code())
	if call.Stream && endsWatches(reason) || call.Excess {
		level = slog.LevelDebug // calls that exceed a limit would fill the log at a higher level
	}
	if !o.Logger.Enabled(ctx, level) || level > slog.LevelDebug && !o.lines.allow(level, addressOf(ctx)) {
		return
	}
	attributes := []slog.Attr{
		slog.String("method", call.Method),
		slog.String("code", answer.Code().String()),
		slog.Duration("took", call.Took),
	}
	if call.CredentialID != "" {
		attributes = append(attributes, slog.String("credential_id", rpc.Shorten(call.CredentialID)))
	}
	if call.Caller != "" && answer.Code() != codes.OK {
		attributes = append(attributes, slog.String("caller", call.Caller))
	}
	if answer.Code() == codes.Unauthenticated || reason == string(fault.AuthenticationUnavailable) {
		evidence := rpc.EvidenceOf(ctx)
		attributes = append(attributes, slog.String("address", evidence.Address), slog.Any("tried", evidence.Methods()))
	}
	if reason != "" {
		attributes = append(attributes, slog.String("reason", reason), slog.String("message", answer.Message()))
	}
	o.Logger.LogAttrs(ctx, level, "call", attributes...)
}

// HandshakeFailed logs a failed TLS handshake, at level info if the client certificate is the
// cause, and at level debug otherwise.
func (o *Observer) HandshakeFailed(client net.Addr, err error) {
	var wrong *tls.CertificateVerificationError
	switch {
	case errors.As(err, &wrong):
		o.Refused(authentication.MethodMutualTLS).Inc()
		if o.lines.allow(slog.LevelInfo, client) {
			o.Logger.Info("a handshake failed", "code", codes.Unauthenticated.String(), "address", client.String(),
				"tried", []string{authentication.MethodMutualTLS},
				"message", authentication.InvalidCertificate)
		}
	case !errors.Is(err, io.EOF): // io.EOF comes from clients that only probe the port
		o.Logger.Debug("a handshake failed", "address", client.String(), "error", err)
	}
}

// addressOf returns the address of a call's client, or nil if it is unknown.
func addressOf(ctx context.Context) net.Addr {
	if from, ok := peer.FromContext(ctx); ok {
		return from.Addr
	}
	return nil
}

// reasonOf returns the reason of an error that the broker made, and an empty string for other
// errors, whose messages could contain secrets.
func reasonOf(answer *status.Status) string {
	for _, detail := range answer.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// endsWatches reports whether the reason is the reason of a watch that ends normally.
func endsWatches(reason string) bool {
	return reason == string(fault.WatchTooOld) || reason == string(fault.ServerStopping)
}

func levelOf(code codes.Code) slog.Level {
	switch code {
	case codes.OK:
		return slog.LevelDebug
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return slog.LevelError
	case codes.Unavailable, codes.FailedPrecondition, codes.ResourceExhausted:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}
