package client

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// The reasons of the client's own errors. The other reasons are those of the enum ErrorReason in
// the API, without the prefix ERROR_REASON_, such as CREDENTIAL_NOT_FOUND.
const (
	// ReasonBrokerUnreachable means that the broker did not answer, and the client has no unexpired
	// copy of the material.
	ReasonBrokerUnreachable = "BROKER_UNREACHABLE"
	// ReasonHostNotAllowed means that the material must not be sent to the host of the request, or
	// not without https. Nothing was sent.
	ReasonHostNotAllowed = "HOST_NOT_ALLOWED"
)

// ErrHostNotAllowed is in the chain of each Error with ReasonHostNotAllowed.
var ErrHostNotAllowed = errors.New("the material must not be sent to this host")

var errClosed = errors.New("the client is closed")

// Error is the error of a request that was not sent, because there is no material for it, or
// because it must not get the material. An http.Client wraps the Error, so use errors.As. The text
// contains no secret.
type Error struct {
	// Reason is a constant of this package, or a reason of the broker, such as ACCESS_DENIED.
	Reason string
	// CredentialID is the ID of the credential that the request needs.
	CredentialID string
	// RetryDelay is how long to wait before a retry, or 0 if the broker named no delay.
	RetryDelay time.Duration

	cause error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Reason == ReasonHostNotAllowed {
		return e.cause.Error()
	}
	text := e.cause.Error()
	if e.Reason != ReasonBrokerUnreachable { // the reason says more than the gRPC code
		text = status.Convert(e.cause).Message()
	}
	return "get the material of credential " + strconv.Quote(e.CredentialID) + ": " + e.Reason + ": " + text
}

// Unwrap returns ErrHostNotAllowed with its details, or the gRPC status of the call.
func (e *Error) Unwrap() error { return e.cause }

const (
	reasonTrailer = "authmaterial-error-reason"
	delayTrailer  = "grpc-retry-pushback-ms"
	errorDomain   = "authmaterial"
)

// callError returns the Error for a call that failed. The reason of a broker's error is in the
// trailer and in a detail of the status.
func callError(credentialID string, err error, trailer metadata.MD) *Error {
	failed := &Error{CredentialID: credentialID, cause: err}
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == errorDomain {
				failed.Reason = detail.GetReason()
			}
		case *errdetails.RetryInfo:
			failed.RetryDelay = max(0, detail.GetRetryDelay().AsDuration())
		}
	}
	failed.Reason = cmp.Or(strings.Join(trailer.Get(reasonTrailer), ""), failed.Reason, ReasonBrokerUnreachable)
	if delay := trailer.Get(delayTrailer); failed.RetryDelay == 0 && len(delay) == 1 {
		if milliseconds, err := strconv.ParseUint(delay[0], 10, 31); err == nil {
			failed.RetryDelay = time.Duration(milliseconds) * time.Millisecond
		}
	}
	return failed
}

// stateError returns the Error for a state of a watched credential.
func stateError(credentialID string, state *authmaterialv1.AuthDecorationError) *Error {
	return &Error{
		Reason:       strings.TrimPrefix(state.GetReason().String(), "ERROR_REASON_"),
		CredentialID: credentialID,
		RetryDelay:   max(0, state.GetRetryDelay().AsDuration()),
		cause:        status.Error(cmp.Or(codes.Code(state.GetCode()), codes.Unknown), state.GetMessage()), //nolint:gosec // a gRPC code is at most 16
	}
}
