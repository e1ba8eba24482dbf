// Package fault says why a call cannot be answered, in the broker's own words. It
// knows nothing of gRPC: package rpc gives each reason its code.
package fault

import (
	"errors"
	"time"
)

// Reason is why there is no material. Each is a value of the proto enum ErrorReason.
type Reason int

// The reasons. Their meaning stands beside the proto enum's values.
const (
	Internal Reason = iota
	InvalidRequest
	CredentialNotFound
	CredentialRejected
	ProviderUnavailable
	ProviderRateLimited
	RateLimited
	ServerStopping
	WatchTooOld
	CallerUnauthenticated
	AuthenticationUnavailable
	AccessDenied
)

// String is the name of the reason on the wire.
func (r Reason) String() string {
	if name, ok := names[r]; ok {
		return name
	}
	return names[Internal]
}

var names = map[Reason]string{ //nolint:gosec // these are names of reasons
	Internal:                  "INTERNAL",
	InvalidRequest:            "INVALID_REQUEST",
	CredentialNotFound:        "CREDENTIAL_NOT_FOUND",
	CredentialRejected:        "CREDENTIAL_REJECTED",
	ProviderUnavailable:       "PROVIDER_UNAVAILABLE",
	ProviderRateLimited:       "PROVIDER_RATE_LIMITED",
	RateLimited:               "RATE_LIMITED",
	ServerStopping:            "SERVER_STOPPING",
	WatchTooOld:               "WATCH_TOO_OLD",
	CallerUnauthenticated:     "CALLER_UNAUTHENTICATED",
	AuthenticationUnavailable: "AUTHENTICATION_UNAVAILABLE",
	AccessDenied:              "ACCESS_DENIED",
}

// Error is a failure that a caller may be told about.
type Error struct {
	// Reason decides the code that the caller sees.
	Reason Reason
	// Message is a sentence for people. It holds nothing secret and nothing that a
	// provider sent, but for a registered OAuth error code.
	Message string
	// RetryDelay is how long to wait before trying again. Zero: there is no telling,
	// or trying again is pointless.
	RetryDelay time.Duration
	// Violations are the parts of a malformed request, for InvalidRequest alone.
	Violations []Violation
}

// Violation is one thing wrong with a request.
type Violation struct {
	// Field is the path of the field, as in the proto: `credential_ids`.
	Field string
	// Description says what is wrong with it and what would be right.
	Description string
}

// New returns an Error with no advice on when to try again.
func New(reason Reason, message string) *Error {
	return &Error{Reason: reason, Message: message}
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// WithRetryDelay returns a copy of e that says when to try again.
func (e *Error) WithRetryDelay(delay time.Duration) *Error {
	copied := *e
	copied.RetryDelay = delay
	return &copied
}

// From returns the Error in err's chain. Any other error is a fault of the
// broker's own, about whose inside callers are told nothing.
func From(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	return Opaque()
}

// Opaque is a fault of the broker's own, without a word about it.
func Opaque() *Error { return New(Internal, "internal error") }
