package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	// errorDomain stands in every ErrorInfo of the broker's.
	errorDomain = "authmaterial"
	// reasonPrefix is what ErrorInfo leaves out of the reason's name.
	reasonPrefix = "ERROR_REASON_"
)

// refusal is why the broker has no material.
type refusal struct {
	id         string // empty: it is about the call as a whole
	code       codes.Code
	reason     authmaterialv1.ErrorReason
	message    string
	retryDelay time.Duration
	advice     string // empty: that of the reason
}

// Error says who, why, and what to do.
func (r *refusal) Error() string {
	text := strings.TrimPrefix(r.reason.String(), reasonPrefix) + ": " + r.message
	if r.id != "" {
		text = r.id + ": " + text
	}
	text = printable(text)
	if delay := r.retryDelay; delay > 0 {
		text += fmt.Sprintf("\n  Try again in %s.", (delay + time.Second - 1).Truncate(time.Second))
	}
	if advice := cmp.Or(r.advice, whatToDo[r.reason]); advice != "" {
		text += "\n  " + advice
	}
	return text
}

// whatToDo is for the operator who sees the reason.
var whatToDo = map[authmaterialv1.ErrorReason]string{
	authmaterialv1.ErrorReason_ERROR_REASON_UNSPECIFIED:                "",
	authmaterialv1.ErrorReason_ERROR_REASON_INVALID_REQUEST:            "Name IDs of the broker's configuration file, at most 100 in a call. An ID has lower-case letters, digits, '.', '_' and '-'.",
	authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_NOT_FOUND:       "Look in the broker's configuration file for the ID, and for 'disabled'.",
	authmaterialv1.ErrorReason_ERROR_REASON_CALLER_UNAUTHENTICATED:     "", // howToProve says it
	authmaterialv1.ErrorReason_ERROR_REASON_AUTHENTICATION_UNAVAILABLE: "The broker's log says what it needs to check its callers.",
	authmaterialv1.ErrorReason_ERROR_REASON_ACCESS_DENIED:              "Let the broker's configuration grant you this ID; 'broker check --explain CALLER ID' says who may use it, and why not.",
	authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_REJECTED:        "Give the credential values that the provider accepts; 'broker providers' says where to find them. SIGHUP lets the broker try again at once.",
	authmaterialv1.ErrorReason_ERROR_REASON_PROVIDER_UNAVAILABLE:       "If it lasts: see the provider's status page, and whether the broker's machine reaches the provider.",
	authmaterialv1.ErrorReason_ERROR_REASON_PROVIDER_RATE_LIMITED:      "If it lasts: see what else requests tokens for this client.",
	authmaterialv1.ErrorReason_ERROR_REASON_RATE_LIMITED:               "If it lasts: see which service goes on reporting good material.",
	authmaterialv1.ErrorReason_ERROR_REASON_SERVER_STOPPING:            "Try again when the broker has been started.",
	authmaterialv1.ErrorReason_ERROR_REASON_INTERNAL:                   "The broker's log has the details.",
	authmaterialv1.ErrorReason_ERROR_REASON_WATCH_TOO_OLD:              "",
}

// refusedItem is the error of one ID of a batch.
func refusedItem(id string, item *authmaterialv1.AuthDecorationError) *refusal {
	return &refusal{
		id:         id,
		code:       codes.Code(item.GetCode()), //nolint:gosec // a code is small, and only printed
		reason:     item.GetReason(),
		message:    item.GetMessage(),
		retryDelay: item.GetRetryDelay().AsDuration(),
	}
}

// refused explains the error of a call: the broker's own, or what kept it from
// answering.
func (f *getFlags) refused(id string, err error) error {
	failed := status.Convert(err)
	made := &refusal{id: id, code: failed.Code(), message: failed.Message()}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == errorDomain {
				made.reason = authmaterialv1.ErrorReason(authmaterialv1.ErrorReason_value[reasonPrefix+detail.GetReason()])
			}
		case *errdetails.RetryInfo:
			made.retryDelay = detail.GetRetryDelay().AsDuration()
		}
	}
	if made.reason == authmaterialv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return f.unanswered(failed)
	}
	if made.reason == authmaterialv1.ErrorReason_ERROR_REASON_CALLER_UNAUTHENTICATED {
		made.advice = f.howToProve()
	}
	return made
}

// unanswered explains an error that the broker did not make.
func (f *getFlags) unanswered(failed *status.Status) error {
	message := printable(failed.Message())
	if seen := f.unconnected(); seen != nil && (failed.Code() == codes.Unavailable || failed.Code() == codes.DeadlineExceeded) {
		return fmt.Errorf("no connection to the broker on %s: %w", &f.address, seen)
	}
	switch failed.Code() {
	case codes.Unavailable:
		return fmt.Errorf("no broker answers on %s: %s\n  Start one with 'broker serve', or say where it is with --address or %s", &f.address, message, addressVariable)
	case codes.DeadlineExceeded:
		return fmt.Errorf("the broker on %s has not answered within %s\n  Let it have more time with --timeout, and see whether the port is that of listen.grpc", &f.address, f.timeout)
	case codes.Unimplemented:
		return fmt.Errorf("what answers on %s is no broker, or an older one: %s", &f.address, message)
	default:
		return fmt.Errorf("the call to %s failed: %s: %s", &f.address, failed.Code(), message)
	}
}
