package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fault"
)

const (
	// errorDomain stands in every ErrorInfo.
	errorDomain = "authmaterial"
	// maxViolations bounds a BadRequest.
	maxViolations = 20
	// pushback is the trailer in which gRPC clients look for when to retry, in
	// milliseconds.
	pushback = "grpc-retry-pushback-ms"
	// defaultRetryDelay is when to try again where nobody knows better.
	defaultRetryDelay = time.Second
)

// wireError is what one fault.Reason is on the wire.
type wireError struct {
	code   codes.Code
	reason authmaterialv1.ErrorReason
	// passes says that the error comes with when to try again.
	passes bool
}

// wireErrors is the map of errors. It says what the comments of the proto enum
// ErrorReason say.
var wireErrors = map[fault.Reason]wireError{
	fault.InvalidRequest:            {codes.InvalidArgument, authmaterialv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, false},
	fault.CredentialNotFound:        {codes.NotFound, authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_NOT_FOUND, false},
	fault.CredentialRejected:        {codes.FailedPrecondition, authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_REJECTED, false},
	fault.ProviderUnavailable:       {codes.Unavailable, authmaterialv1.ErrorReason_ERROR_REASON_PROVIDER_UNAVAILABLE, true},
	fault.ProviderRateLimited:       {codes.Unavailable, authmaterialv1.ErrorReason_ERROR_REASON_PROVIDER_RATE_LIMITED, true},
	fault.RateLimited:               {codes.ResourceExhausted, authmaterialv1.ErrorReason_ERROR_REASON_RATE_LIMITED, true},
	fault.CallerUnauthenticated:     {codes.Unauthenticated, authmaterialv1.ErrorReason_ERROR_REASON_CALLER_UNAUTHENTICATED, false},
	fault.AuthenticationUnavailable: {codes.Unavailable, authmaterialv1.ErrorReason_ERROR_REASON_AUTHENTICATION_UNAVAILABLE, true},
	fault.AccessDenied:              {codes.PermissionDenied, authmaterialv1.ErrorReason_ERROR_REASON_ACCESS_DENIED, false},
	fault.ServerStopping:            {codes.Unavailable, authmaterialv1.ErrorReason_ERROR_REASON_SERVER_STOPPING, false},
	fault.WatchTooOld:               {codes.Unavailable, authmaterialv1.ErrorReason_ERROR_REASON_WATCH_TOO_OLD, false},
	fault.Internal:                  {codes.Internal, authmaterialv1.ErrorReason_ERROR_REASON_INTERNAL, false},
}

// name is the reason in an ErrorInfo.
func (w wireError) name() string { return strings.TrimPrefix(w.reason.String(), "ERROR_REASON_") }

// toStatus turns an error of the broker into what the caller of an RPC gets. About an
// error that is not a fault.Error it says nothing but INTERNAL; the log has its type.
func (s *Service) toStatus(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err() // the caller has gone
	}
	known := s.known(ctx, err)
	wire := wireErrors[known.Reason]
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: wire.name(), Domain: errorDomain}}
	if wire.passes {
		delay := cmp.Or(known.RetryDelay, defaultRetryDelay)
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
		setPushback(ctx, delay)
	}
	if known.Reason == fault.InvalidRequest {
		details = append(details, badRequest(known))
	}
	made, err := status.New(wire.code, known.Message).WithDetails(details...)
	if err != nil { // only for the code OK, which no reason has
		return status.Error(codes.Internal, known.Message)
	}
	return made.Err()
}

// toItem turns an error into that of one item of a batch.
func (s *Service) toItem(ctx context.Context, err error) *authmaterialv1.AuthDecorationError {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = fault.New(fault.ProviderUnavailable, "the call ended before there was an answer")
	}
	known := s.known(ctx, err)
	wire := wireErrors[known.Reason]
	item := &authmaterialv1.AuthDecorationError{
		Code:    int32(wire.code), //nolint:gosec // a gRPC code is less than 17
		Reason:  wire.reason,
		Message: known.Message,
	}
	if wire.passes {
		item.RetryDelay = durationpb.New(cmp.Or(known.RetryDelay, defaultRetryDelay))
	}
	return item
}

// known returns the fault in err's chain. Of any other error it logs the type, and not
// the text, which could hold anything.
func (s *Service) known(ctx context.Context, err error) *fault.Error {
	known := fault.From(err)
	if known.Reason == fault.Internal {
		s.faults.Do(func() {
			s.logger.LogAttrs(ctx, slog.LevelError, "a call failed for a reason of the broker's own",
				slog.String("type", fmt.Sprintf("%T", innermost(err))), slog.String("message", known.Message))
		})
	}
	return known
}

// innermost returns the error that the others of a chain wrap.
func innermost(err error) error {
	for {
		wrapped := errors.Unwrap(err)
		if wrapped == nil {
			return err
		}
		err = wrapped
	}
}

// Recovered is what the caller gets whose call ended in a panic. The log has where; a
// panic's value could hold anything.
func (s *Service) Recovered(ctx context.Context, cause any) error {
	s.logger.LogAttrs(ctx, slog.LevelError, "panic in a call",
		slog.String("type", fmt.Sprintf("%T", cause)), slog.String("stack", string(debug.Stack())))
	return s.toStatus(ctx, fault.Opaque())
}

// Stopping is what the caller gets whose stream ends with the server.
func (s *Service) Stopping(ctx context.Context) error {
	return s.toStatus(ctx, fault.New(fault.ServerStopping, "the broker is stopping"))
}

// setPushback tells clients that retry by themselves when to. It fails only where ctx is
// not that of a call.
func setPushback(ctx context.Context, delay time.Duration) {
	milliseconds := max(1, (delay + time.Millisecond - 1).Milliseconds())
	_ = grpc.SetTrailer(ctx, metadata.Pairs(pushback, strconv.FormatInt(milliseconds, 10)))
}

// badRequest names the fields of a malformed request. What the broker itself finds
// malformed is the credential ID.
func badRequest(known *fault.Error) *errdetails.BadRequest {
	violations := known.Violations
	if violations == nil {
		violations = []fault.Violation{{Field: "credential_id", Description: known.Message}}
	}
	detail := &errdetails.BadRequest{}
	for _, violation := range violations[:min(len(violations), maxViolations)] {
		detail.FieldViolations = append(detail.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field:       violation.Field,
			Description: violation.Description,
		})
	}
	return detail
}
