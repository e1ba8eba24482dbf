package server

import (
	"context"
	"log/slog"
	"net"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

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

// ended writes the line about a call.
func (l callLogger) ended(ctx context.Context, call rpc.Ended) {
	answer := status.Convert(call.Err)
	reason := reasonOf(answer)
	level := levelOf(answer.Code())
	if call.Stream && endsWatches(reason) || call.Excess {
		level = slog.LevelDebug // who makes too many calls, or malformed ones, is not to fill the log with them
	}
	if !l.logger.Enabled(ctx, level) || level > slog.LevelDebug && !l.lines.allow(level, addressOf(ctx)) {
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
	l.logger.LogAttrs(ctx, level, "call", attributes...)
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

// endsWatches reports whether it is in the nature of a watch to end for this reason.
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
