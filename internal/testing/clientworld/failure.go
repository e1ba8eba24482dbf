package clientworld

import (
	"context"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// codeOf has the gRPC code of each reason that a vector can use, as in error_reason.proto.
var codeOf = map[string]codes.Code{
	"INVALID_REQUEST":            codes.InvalidArgument,
	"CREDENTIAL_NOT_FOUND":       codes.NotFound,
	"CALLER_UNAUTHENTICATED":     codes.Unauthenticated,
	"AUTHENTICATION_UNAVAILABLE": codes.Unavailable,
	"ACCESS_DENIED":              codes.PermissionDenied,
	"CREDENTIAL_REJECTED":        codes.FailedPrecondition,
	"PROVIDER_UNAVAILABLE":       codes.Unavailable,
	"PROVIDER_RATE_LIMITED":      codes.Unavailable,
	"RATE_LIMITED":               codes.ResourceExhausted,
	"SERVER_STOPPING":            codes.Unavailable,
	"WATCH_TOO_OLD":              codes.Unavailable,
	"INTERNAL":                   codes.Internal,
}

func (f *failure) code() codes.Code {
	if f.Code == "" {
		return codeOf[f.Reason]
	}
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(strconv.Quote(f.Code))); err != nil {
		return codes.Unknown
	}
	return code
}

func (f *failure) message() string { return "scripted error " + f.Reason }

// status returns the error of a call, and sets its trailers.
func (f *failure) status(ctx context.Context) error {
	made := status.New(f.code(), f.message())
	if f.Reason == "" {
		return made.Err()
	}
	trailer := metadata.Pairs("authmaterial-error-reason", f.Reason)
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: f.Reason, Domain: "authmaterial"}}
	if f.Retry.set {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.Retry.Duration)})
		trailer.Set("grpc-retry-pushback-ms", strconv.FormatInt(f.Retry.Milliseconds(), 10))
	}
	_ = grpc.SetTrailer(ctx, trailer) // fails only outside of a call
	detailed, err := made.WithDetails(details...)
	if err != nil {
		return made.Err()
	}
	return detailed.Err()
}

// item returns the error as the state of a watched credential.
func (f *failure) item(id string) *authmaterialv1.WatchAuthDecorationsResponse {
	item := &authmaterialv1.AuthDecorationError{
		Code:    int32(f.code()),
		Reason:  authmaterialv1.ErrorReason(authmaterialv1.ErrorReason_value["ERROR_REASON_"+f.Reason]),
		Message: f.message(),
	}
	if f.Retry.set {
		item.RetryDelay = durationpb.New(f.Retry.Duration)
	}
	return &authmaterialv1.WatchAuthDecorationsResponse{
		CredentialId: id, State: &authmaterialv1.WatchAuthDecorationsResponse_Error{Error: item},
	}
}
