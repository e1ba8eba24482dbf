package rpc

import (
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
	// errorDomain stands in every ErrorInfo.
	errorDomain = "authmaterial"
	// maxViolations bounds a BadRequest.
	maxViolations = 20
	// pushback is the trailer in which gRPC clients look for when to retry, in
	// milliseconds.
	pushback = "grpc-retry-pushback-ms"
)

// wireError is what one fault.Reason is on the wire.
type wireError struct {
	code   codes.Code
	reason authmaterialv1.ErrorReason
	// name is the reason without the prefix of the proto enum.
	name string
}

// wireErrors is the map of errors: the contract's table.
var wireErrors = map[fault.Reason]wireError{
	fault.InvalidRequest:      {codes.InvalidArgument, authmaterialv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "INVALID_REQUEST"},
	fault.CredentialNotFound:  {codes.NotFound, authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_NOT_FOUND, "CREDENTIAL_NOT_FOUND"},
	fault.CredentialRejected:  {codes.FailedPrecondition, authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_REJECTED, "CREDENTIAL_REJECTED"},
	fault.ProviderUnavailable: {codes.Unavailable, authmaterialv1.ErrorReason_ERROR_REASON_PROVIDER_UNAVAILABLE, "PROVIDER_UNAVAILABLE"},
	fault.ProviderRateLimited: {codes.Unavailable, authmaterialv1.ErrorReason_ERROR_REASON_PROVIDER_RATE_LIMITED, "PROVIDER_RATE_LIMITED"},
	fault.RateLimited:         {codes.ResourceExhausted, authmaterialv1.ErrorReason_ERROR_REASON_RATE_LIMITED, "RATE_LIMITED"},
	fault.ServerStopping:      {codes.Unavailable, authmaterialv1.ErrorReason_ERROR_REASON_SERVER_STOPPING, "SERVER_STOPPING"},
	fault.Internal:            {codes.Internal, authmaterialv1.ErrorReason_ERROR_REASON_INTERNAL, "INTERNAL"},
}

// retriable says of which reasons it makes sense to say when to try again. A refused
// credential is no such: waiting does not mend it.
func retriable(reason fault.Reason) bool {
	return reason == fault.ProviderUnavailable || reason == fault.ProviderRateLimited || reason == fault.RateLimited
}

// toStatus turns an error of the broker into what the caller of an RPC gets. About an
// error that is not a fault.Error it says nothing but INTERNAL; the log has its type.
func (s *Service) toStatus(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err() // the caller has gone
	}
	known := s.known(ctx, err)
	wire := wireErrors[known.Reason]
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: wire.name, Domain: errorDomain}}
	if retriable(known.Reason) {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(known.RetryDelay)})
		setPushback(ctx, known.RetryDelay)
	}
	if len(known.Violations) > 0 {
		details = append(details, badRequest(known.Violations))
	}
	made, err := status.New(wire.code, known.Message).WithDetails(details...)
	if err != nil { // only for the code OK, which no reason has
		return status.Error(codes.Internal, "internal error")
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
	if retriable(known.Reason) {
		item.RetryDelay = durationpb.New(known.RetryDelay)
	}
	return item
}

// known returns the fault in err's chain. It logs the type of any other error, and not
// its text, which could hold anything.
func (s *Service) known(ctx context.Context, err error) *fault.Error {
	known := fault.From(err)
	if known.Reason == fault.Internal {
		s.logger.LogAttrs(ctx, slog.LevelError, "a call failed for a reason of the broker's own",
			slog.String("type", fmt.Sprintf("%T", err)))
	}
	return known
}

// Recovered is what the caller gets whose call ended in a panic. The log has where; a
// panic's value could hold anything.
func (s *Service) Recovered(ctx context.Context, cause any) error {
	s.logger.LogAttrs(ctx, slog.LevelError, "panic in a call",
		slog.String("type", fmt.Sprintf("%T", cause)), slog.String("stack", string(debug.Stack())))
	return s.toStatus(ctx, fault.New(fault.Internal, "internal error"))
}

// setPushback tells clients that retry by themselves when to. It has no effect where
// the call is not one of gRPC's, as in a unit test.
func setPushback(ctx context.Context, delay time.Duration) {
	milliseconds := max(1, (delay + time.Millisecond - 1).Milliseconds())
	_ = grpc.SetTrailer(ctx, metadata.Pairs(pushback, strconv.FormatInt(milliseconds, 10)))
}

func badRequest(violations []fault.Violation) *errdetails.BadRequest {
	detail := &errdetails.BadRequest{}
	for _, violation := range violations[:min(len(violations), maxViolations)] {
		detail.FieldViolations = append(detail.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field:       violation.Field,
			Description: violation.Description,
		})
	}
	return detail
}
