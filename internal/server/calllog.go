package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/rpc"
)

// callLogger writes a line for each call that failed, as far as there are not too many of
// them, and at debug level for each that did not, or is a watch that ended by itself. It never
// formats a message: they hold secrets.
type callLogger struct {
	logger *slog.Logger
	lines  *callLines
}

// ServerReporter is called at the start of a call.
func (l callLogger) ServerReporter(ctx context.Context, call interceptors.CallMeta) (interceptors.Reporter, context.Context) {
	report := &callReport{callLogger: l, ctx: ctx, call: call}
	return report, context.WithValue(ctx, callReportKey{}, report)
}

// callReportKey is the key of a call's *callReport.
type callReportKey struct{}

// noteCaller has the line about a call name its caller, who is found out after the report began.
func noteCaller(ctx context.Context, name string) {
	if report, ok := ctx.Value(callReportKey{}).(*callReport); ok {
		report.caller = name
	}
}

// callReport is about one call.
type callReport struct {
	interceptors.NoopReporter
	callLogger

	ctx     context.Context //nolint:containedctx // it lives as long as the call
	call    interceptors.CallMeta
	request interface{ GetCredentialId() string } // nil: it is about none, or several
	caller  string                                // empty: not known
}

// PostMsgReceive notes which message the call has. That of a unary call is still empty.
func (r *callReport) PostMsgReceive(message any, _ error, _ time.Duration) {
	r.request, _ = message.(interface{ GetCredentialId() string })
}

// PostCall writes the line.
func (r *callReport) PostCall(err error, took time.Duration) {
	answer := status.Convert(err)
	reason := reasonOf(answer)
	level := levelOf(answer.Code())
	if r.call.Typ == interceptors.ServerStream && endsWatches(reason) {
		level = slog.LevelDebug
	}
	if errors.As(err, &refusal{}) || answer.Message() == broker.ErrManyDenials.Message {
		level = slog.LevelDebug // who makes too many calls, or malformed ones, is not to fill the log with them
	}
	if !r.logger.Enabled(r.ctx, level) || level > slog.LevelDebug && !r.lines.allow(level, addressOf(r.ctx)) {
		return
	}
	attributes := []slog.Attr{
		slog.String("method", r.call.FullMethod()),
		slog.String("code", answer.Code().String()),
		slog.Duration("took", took),
	}
	if r.request != nil && r.request.GetCredentialId() != "" {
		attributes = append(attributes, slog.String("credential_id", rpc.Shorten(r.request.GetCredentialId())))
	}
	if r.caller != "" && answer.Code() != codes.OK {
		attributes = append(attributes, slog.String("caller", r.caller))
	}
	if answer.Code() == codes.Unauthenticated || reason == fault.AuthenticationUnavailable.String() {
		evidence := evidenceOf(r.ctx)
		attributes = append(attributes, slog.String("address", evidence.Address), slog.Any("tried", evidence.Methods()))
	}
	if reason != "" {
		attributes = append(attributes, slog.String("reason", reason), slog.String("message", answer.Message()))
	}
	r.logger.LogAttrs(r.ctx, level, "call", attributes...)
}

// addressOf is that of a call's client; nil: unknown.
func addressOf(ctx context.Context) net.Addr {
	if from, ok := peer.FromContext(ctx); ok {
		return from.Addr
	}
	return nil
}

// reasonOf is that of an error of the broker's own, and empty for others: their messages
// could hold anything.
func reasonOf(answer *status.Status) string {
	for _, detail := range answer.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// endsWatches says whether it is in the nature of a watch to end for this reason.
func endsWatches(reason string) bool {
	return reason == "WATCH_TOO_OLD" || reason == "SERVER_STOPPING"
}

// levelOf is how much an operator wants to know of an outcome.
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
