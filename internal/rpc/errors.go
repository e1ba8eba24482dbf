package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
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
	errorDomain   = "authmaterial"
	maxViolations = 20
	// pushback is the trailer that tells gRPC clients after how many milliseconds to retry.
	pushback = "grpc-retry-pushback-ms"
	// reasonTrailer is the trailer with the reason of an error, for clients without the definition
	// of google.rpc.ErrorInfo. Over HTTP, the reason is a header.
	reasonTrailer = "authmaterial-error-reason"
	// defaultRetryDelay is for temporary errors without a retry delay of their own.
	defaultRetryDelay = time.Second
)

// wireErrors maps each reason to a gRPC code, which the proto enum ErrorReason documents.
// Temporary errors have a retry delay.
var wireErrors = map[fault.Reason]struct {
	code      codes.Code
	temporary bool
}{
	fault.InvalidRequest:            {codes.InvalidArgument, false},
	fault.CredentialNotFound:        {codes.NotFound, false},
	fault.CredentialRejected:        {codes.FailedPrecondition, false},
	fault.ProviderUnavailable:       {codes.Unavailable, true},
	fault.ProviderRateLimited:       {codes.Unavailable, true},
	fault.RateLimited:               {codes.ResourceExhausted, true},
	fault.CallerUnauthenticated:     {codes.Unauthenticated, false},
	fault.AuthenticationUnavailable: {codes.Unavailable, true},
	fault.AccessDenied:              {codes.PermissionDenied, false},
	fault.ServerStopping:            {codes.Unavailable, false},
	fault.WatchTooOld:               {codes.Unavailable, false},
	fault.CredentialExists:          {codes.AlreadyExists, false},
	fault.CredentialChanged:         {codes.Aborted, false},
	fault.CredentialReadOnly:        {codes.FailedPrecondition, false},
	fault.VersionNotFound:           {codes.NotFound, false},
	fault.VerificationUnsupported:   {codes.FailedPrecondition, false},
	fault.StoreUnavailable:          {codes.Unavailable, true},
	fault.ProviderNotFound:          {codes.NotFound, false},
	fault.Internal:                  {codes.Internal, false},
}

// toStatus converts an error to the status error for the client. Status errors stay unchanged,
// and unknown errors become INTERNAL without any detail.
func (s *Service) toStatus(ctx context.Context, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	if isContextError(err) { // the client no longer waits for an answer
		return status.FromContextError(err).Err()
	}
	known, code := s.known(ctx, err)
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: string(known.Reason), Domain: errorDomain}}
	trailer := metadata.Pairs(reasonTrailer, string(known.Reason))
	if delay := known.RetryDelay; delay != 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
		milliseconds := max(1, (delay + time.Millisecond - 1).Milliseconds())
		trailer.Set(pushback, strconv.FormatInt(milliseconds, 10))
	}
	_ = grpc.SetTrailer(ctx, trailer) // fails only outside of a gRPC call
	if known.Reason == fault.InvalidRequest {
		details = append(details, badRequest(known))
	}
	made, err := status.New(code, known.Message).WithDetails(details...)
	if err != nil { // WithDetails fails only for the code OK, which no reason has
		return status.Error(codes.Internal, known.Message)
	}
	return made.Err()
}

func (s *Service) toItemError(ctx context.Context, err error) *authmaterialv1.AuthDecorationError {
	if isContextError(err) {
		err = fault.New(fault.ProviderUnavailable, "the call ended before there was an answer")
	}
	known, code := s.known(ctx, err)
	item := &authmaterialv1.AuthDecorationError{
		Code:    int32(code), //nolint:gosec // every gRPC code is less than 17
		Reason:  authmaterialv1.ErrorReason(authmaterialv1.ErrorReason_value["ERROR_REASON_"+string(known.Reason)]),
		Message: known.Message,
	}
	if known.RetryDelay != 0 {
		item.RetryDelay = durationpb.New(known.RetryDelay)
	}
	return item
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// The returned fault.Error is in the chain of the error, and has a retry delay only if it is
// temporary. If the chain has no fault.Error, only the error's type is logged, because the error's
// text could contain secrets.
func (s *Service) known(ctx context.Context, err error) (*fault.Error, codes.Code) {
	known := fault.From(err)
	if known.Reason == fault.Internal {
		s.faults.Do(func() {
			for inner := err; inner != nil; inner = errors.Unwrap(inner) {
				err = inner
			}
			s.options.Logger.LogAttrs(ctx, slog.LevelError, "a call failed because of an internal error",
				slog.String("type", fmt.Sprintf("%T", err)), slog.String("message", known.Message))
		})
	}
	wire := wireErrors[known.Reason]
	if wire.temporary {
		return known.WithRetryDelay(cmp.Or(known.RetryDelay, defaultRetryDelay)), wire.code
	}
	return known.WithRetryDelay(0), wire.code
}

// Recovered returns the error for the client after a panic in a call. Recovered logs the stack, but
// not the value of the panic, which could contain secrets.
func (s *Service) Recovered(ctx context.Context, cause any) error {
	s.options.Logger.LogAttrs(ctx, slog.LevelError, "panic in a call",
		slog.String("type", fmt.Sprintf("%T", cause)), slog.String("stack", string(debug.Stack())))
	return s.toStatus(ctx, fault.Opaque())
}

// badRequest lists the invalid fields of a malformed request. An error without a list of violations
// is from package broker, which checks only the credential ID.
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
