// Package fault defines the errors that tell callers why a call failed. The package does not depend
// on gRPC: package rpc maps each reason to a gRPC status code.
package fault

import (
	"errors"
	"time"
)

// Reason is why a call failed: the name of a value of the proto enum ErrorReason, without the
// enum's prefix.
type Reason string

// These are the reasons for failed calls. The proto enum ErrorReason documents each reason and what
// the caller can do.
const (
	Internal                  Reason = "INTERNAL"
	InvalidRequest            Reason = "INVALID_REQUEST"
	CredentialNotFound        Reason = "CREDENTIAL_NOT_FOUND" //nolint:gosec // the name of a reason
	CredentialRejected        Reason = "CREDENTIAL_REJECTED"  //nolint:gosec // the name of a reason
	ProviderUnavailable       Reason = "PROVIDER_UNAVAILABLE"
	ProviderRateLimited       Reason = "PROVIDER_RATE_LIMITED"
	RateLimited               Reason = "RATE_LIMITED"
	ServerStopping            Reason = "SERVER_STOPPING"
	WatchTooOld               Reason = "WATCH_TOO_OLD"
	CallerUnauthenticated     Reason = "CALLER_UNAUTHENTICATED"
	AuthenticationUnavailable Reason = "AUTHENTICATION_UNAVAILABLE"
	AccessDenied              Reason = "ACCESS_DENIED"
	CredentialExists          Reason = "CREDENTIAL_EXISTS"    //nolint:gosec // the name of a reason
	CredentialChanged         Reason = "CREDENTIAL_CHANGED"   //nolint:gosec // the name of a reason
	CredentialReadOnly        Reason = "CREDENTIAL_READ_ONLY" //nolint:gosec // the name of a reason
	VersionNotFound           Reason = "VERSION_NOT_FOUND"
	VerificationUnsupported   Reason = "VERIFICATION_UNSUPPORTED"
	StoreUnavailable          Reason = "STORE_UNAVAILABLE"
	ProviderNotFound          Reason = "PROVIDER_NOT_FOUND"
)

// Error is a failure whose reason and message are sent to the caller.
type Error struct {
	// Reason determines the gRPC status code of the call. It is required.
	Reason Reason
	// Message is a sentence for people. A Message contains no secret, and quotes nothing that a
	// provider sent except registered OAuth error codes.
	Message string
	// RetryDelay is how long the caller should wait before its next attempt, or zero if the delay
	// is unknown or another attempt is pointless.
	RetryDelay time.Duration
	// Violations lists the invalid fields of a request, if the Reason is InvalidRequest.
	Violations []Violation
}

// Violation describes one invalid field of a request.
type Violation struct {
	// Field is the path of the field in the proto message, such as `credential_ids`.
	Field string
	// Description is a sentence that explains the problem and the allowed values.
	Description string
}

// New returns an Error that has no RetryDelay.
func New(reason Reason, message string) *Error {
	return &Error{Reason: reason, Message: message}
}

func (e *Error) Error() string { return e.Message }

// WithRetryDelay returns a copy of e that has the given RetryDelay.
func (e *Error) WithRetryDelay(delay time.Duration) *Error {
	copied := *e
	copied.RetryDelay = delay
	return &copied
}

// From returns the Error in the chain of err, or the result of Opaque if the chain contains no
// Error.
func From(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	return Opaque()
}

// Opaque returns the Error, without details, for a bug or an internal failure of the broker.
func Opaque() *Error { return New(Internal, "internal error") }
