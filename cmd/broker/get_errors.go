package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	// errorDomain is in every ErrorInfo of a broker.
	errorDomain = "authmaterial"
	// reasonPrefix is the part of a reason's name that ErrorInfo leaves out.
	reasonPrefix = "ERROR_REASON_"
)

// whatToDo is advice for the operator who sees the reason.
var whatToDo = map[authmaterialv1.ErrorReason]string{
	authmaterialv1.ErrorReason_ERROR_REASON_UNSPECIFIED:                "",
	authmaterialv1.ErrorReason_ERROR_REASON_INVALID_REQUEST:            "Use IDs from the broker's configuration file, at most 100 in a call. An ID has lower-case letters, digits, '.', '_' and '-'.",
	authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_NOT_FOUND:       "Look in the broker's configuration file for the ID, and for 'disabled'.",
	authmaterialv1.ErrorReason_ERROR_REASON_CALLER_UNAUTHENTICATED:     "", // howToIdentify has it
	authmaterialv1.ErrorReason_ERROR_REASON_AUTHENTICATION_UNAVAILABLE: "The broker's log has what it needs to identify callers.",
	authmaterialv1.ErrorReason_ERROR_REASON_ACCESS_DENIED:              "Let the broker's configuration grant you this ID; 'broker check --explain CALLER ID' prints who may use it, and why you may not.",
	authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_REJECTED:        "Give the credential values that the provider accepts; 'broker providers' prints where to find them. SIGHUP makes the broker try again at once.",
	authmaterialv1.ErrorReason_ERROR_REASON_PROVIDER_UNAVAILABLE:       "If it lasts: check the provider's status page, and that the broker's machine reaches the provider.",
	authmaterialv1.ErrorReason_ERROR_REASON_PROVIDER_RATE_LIMITED:      "If it lasts: find out what else requests tokens for this client.",
	authmaterialv1.ErrorReason_ERROR_REASON_RATE_LIMITED:               "If it lasts: find out which service keeps reporting material that is not rejected.",
	authmaterialv1.ErrorReason_ERROR_REASON_SERVER_STOPPING:            "Try again when the broker has been started.",
	authmaterialv1.ErrorReason_ERROR_REASON_INTERNAL:                   "The broker's log has the details.",
	authmaterialv1.ErrorReason_ERROR_REASON_WATCH_TOO_OLD:              "",
}

// refusal explains why the broker has no material for an ID; an empty ID: for the call.
func refusal(id string, refused *authmaterialv1.AuthDecorationError, advice string) error {
	text := strings.TrimPrefix(refused.GetReason().String(), reasonPrefix) + ": " + refused.GetMessage()
	if id != "" {
		text = id + ": " + text
	}
	text = printable(text)
	if delay := refused.GetRetryDelay().AsDuration(); delay > 0 {
		text += fmt.Sprintf("\n  Try again in %s.", (delay + time.Second - 1).Truncate(time.Second))
	}
	if advice != "" {
		text += "\n  " + advice
	}
	return errors.New(text)
}

// explainFailure explains the error of a call, whether the broker or the connection failed.
func (f *getFlags) explainFailure(ctx context.Context, ids []string, err error) error {
	failed := status.Convert(err)
	refused := &authmaterialv1.AuthDecorationError{Message: failed.Message()}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == errorDomain {
				refused.Reason = authmaterialv1.ErrorReason(authmaterialv1.ErrorReason_value[reasonPrefix+detail.GetReason()])
			}
		case *errdetails.RetryInfo:
			refused.RetryDelay = detail.GetRetryDelay()
		}
	}
	if refused.GetReason() == authmaterialv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		explained, _ := f.explainCall(ctx, err)
		return explained
	}
	advice := whatToDo[refused.GetReason()]
	if refused.GetReason() == authmaterialv1.ErrorReason_ERROR_REASON_CALLER_UNAUTHENTICATED {
		advice = f.howToIdentify()
	}
	id := ""
	if len(ids) == 1 {
		id = ids[0]
	}
	return refusal(id, refused, advice)
}

// howToIdentify is advice for a caller whom the broker does not identify.
func (f *getFlags) howToIdentify() string {
	certificate, token := f.files.CertificateFile != "", f.tokenFile != ""
	switch {
	case token && certificate:
		return "The broker accepts neither the token nor the client certificate: check 'authentication' and listen.tls.client_ca_file in its configuration."
	case token:
		return "The broker does not accept the token: check 'authentication' in its configuration, and whether the token has expired."
	case certificate:
		return "The broker does not accept the client certificate: check listen.tls.client_ca_file in its configuration, without which it asks for none."
	case f.isSocket():
		return "Identify yourself with --token-file FILE, or enable authentication.peer_user in the broker's configuration."
	}
	return "Identify yourself with --token-file FILE, or with --tls-cert FILE and --tls-key FILE."
}
