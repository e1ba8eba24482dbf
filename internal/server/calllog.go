package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/internal/rpc"
)

// callLogger writes a line for each call that failed, and at debug level for each that
// did not. It never formats a message: they hold secrets.
type callLogger struct {
	logger *slog.Logger
}

// ServerReporter is called at the start of a call.
func (l callLogger) ServerReporter(ctx context.Context, call interceptors.CallMeta) (interceptors.Reporter, context.Context) {
	return &callReport{logger: l.logger, ctx: ctx, call: call}, ctx
}

// callReport is about one call.
type callReport struct {
	interceptors.NoopReporter
	logger  *slog.Logger
	ctx     context.Context //nolint:containedctx // it lives as long as the call
	call    interceptors.CallMeta
	request interface{ GetCredentialId() string } // nil: it is about none, or several
}

// PostMsgReceive notes which message the call has. That of a unary call is still empty.
func (r *callReport) PostMsgReceive(message any, _ error, _ time.Duration) {
	r.request, _ = message.(interface{ GetCredentialId() string })
}

// PostCall writes the line.
func (r *callReport) PostCall(err error, took time.Duration) {
	answer := status.Convert(err)
	level := levelOf(answer.Code())
	if errors.As(err, &refusal{}) {
		level = slog.LevelDebug // who makes too many calls is not to fill the log with them
	}
	if !r.logger.Enabled(r.ctx, level) {
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
	for _, detail := range answer.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			attributes = append(attributes, slog.String("reason", info.GetReason()), slog.String("message", answer.Message()))
		}
	}
	r.logger.LogAttrs(r.ctx, level, "call", attributes...)
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
