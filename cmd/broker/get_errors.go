package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// whatToDo is advice for the operator who sees the reason of an error.
var whatToDo = map[string]string{ //nolint:gosec // reasons and advice hold no credentials
	"INVALID_REQUEST":            "Use IDs from the broker's configuration file, at most 100 in a call.",
	"CREDENTIAL_NOT_FOUND":       "Look in the broker's configuration file for the ID, and for 'disabled'.",
	"AUTHENTICATION_UNAVAILABLE": "The broker's log has what it needs to identify callers.",
	"ACCESS_DENIED":              "Add a grant to the broker's configuration; 'broker check --explain CALLER ID' helps.",
	"CREDENTIAL_REJECTED":        "Correct its values: 'broker providers' prints where they are. SIGHUP retries at once.",
	"PROVIDER_UNAVAILABLE":       "If it lasts: check the provider's status page, and the broker's network.",
	"PROVIDER_RATE_LIMITED":      "If it lasts: find out what else requests tokens for this client.",
	"RATE_LIMITED":               "If it lasts: find the service that keeps reporting good material as rejected.",
	"SERVER_STOPPING":            "Try again when the broker has been started.",
	"INTERNAL":                   "The broker's log has the details.",
}

// refusal is the error of a broker that has no material for an ID; without an ID, for the call.
func refusal(id, reason, message string, retryDelay time.Duration, advice string) error {
	text := reason + ": " + message
	if id != "" {
		text = id + ": " + text
	}
	text = printable(text)
	if retryDelay > 0 {
		text += fmt.Sprintf("\n  Try again in %s.", (retryDelay + time.Second - 1).Truncate(time.Second))
	}
	if advice != "" {
		text += "\n  " + advice
	}
	return errors.New(text)
}

// explainFailure explains the error of a call, whether the broker or the connection failed.
func (f *getFlags) explainFailure(ctx context.Context, ids []string, err error) error {
	failed := status.Convert(err)
	var reason string
	var retryDelay time.Duration
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == "authmaterial" {
				reason = detail.GetReason()
			}
		case *errdetails.RetryInfo:
			retryDelay = detail.GetRetryDelay().AsDuration()
		}
	}
	advice := whatToDo[reason]
	switch reason {
	case "":
		_, explained := f.explainCall(ctx, err)
		return explained
	case "CALLER_UNAUTHENTICATED":
		advice = f.howToIdentify()
	}
	id := ""
	if len(ids) == 1 {
		id = ids[0]
	}
	return refusal(id, reason, failed.Message(), retryDelay, advice)
}

// howToIdentify is advice for a caller whom the broker does not identify.
func (f *getFlags) howToIdentify() string {
	certificate, token := f.files.CertificateFile != "", f.tokenFile != ""
	switch {
	case token && certificate:
		return "The broker accepts neither: check 'authentication' and listen.tls.client_ca_file in its configuration."
	case token:
		return "The broker does not accept the token: check whether it has expired, and the broker's 'authentication'."
	case certificate:
		return "The broker does not accept the client certificate: check its listen.tls.client_ca_file."
	case f.isSocket():
		return "Identify yourself with --token-file FILE, or enable authentication.peer_user in the broker's configuration."
	}
	return "Identify yourself with --token-file FILE, or with --tls-cert FILE and --tls-key FILE."
}
