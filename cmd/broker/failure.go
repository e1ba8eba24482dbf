package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// whatToDo maps the reason of an error of BrokerService to advice for the user.
var whatToDo = map[string]string{ //nolint:gosec // the keys are error reasons, and no secrets
	"INVALID_REQUEST":            "Use the IDs of credentials, at most 100 in a call.",
	"CREDENTIAL_NOT_FOUND":       "Check the ID, and whether the credential is disabled: see 'broker credentials list'.",
	"AUTHENTICATION_UNAVAILABLE": "The broker cannot identify callers at the moment: its log says why.",
	"ACCESS_DENIED":              "Add a grant to the broker's configuration; see 'broker check --explain CALLER ID'.",
	"CREDENTIAL_REJECTED":        "See 'broker status ID', and correct the credential's values. The broker retries at once when it receives SIGHUP.",
	"PROVIDER_UNAVAILABLE":       "If this error persists: check the provider's status page, and the broker's network.",
	"PROVIDER_RATE_LIMITED":      "If this error persists: find out which other program requests tokens for this client.",
	"RATE_LIMITED":               "If this error persists: find the service that keeps reporting good material as rejected.",
	"SERVER_STOPPING":            "Try again when the broker has been started.",
	"INTERNAL":                   "The broker's log has the details.",
}

// failure is the content of a failed call's status.
type failure struct {
	reason     string // empty if the error does not come from a broker
	message    string
	retryDelay time.Duration
	violations []*errdetails.BadRequest_FieldViolation
}

func readFailure(err error) failure {
	failed := status.Convert(err)
	read := failure{message: failed.Message()}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == "authmaterial" {
				read.reason = detail.GetReason()
			}
		case *errdetails.RetryInfo:
			read.retryDelay = detail.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			read.violations = detail.GetFieldViolations()
		}
	}
	return read
}

// refusal returns the error to print when the broker refused a call or one ID of a batch. An empty
// ID means that the whole call failed.
func refusal(id, reason, message string, retryDelay time.Duration, advice string) error {
	text := printable(strings.TrimPrefix(id+": "+reason+": "+message, ": "))
	if retryDelay > 0 {
		text += fmt.Sprintf("\n  Try again in %s.", (retryDelay + time.Second - 1).Truncate(time.Second))
	}
	if advice != "" {
		text += "\n  " + advice
	}
	return errors.New(text)
}

// explainFailure returns an error that explains a failed call, both if the broker rejected the call
// and if the broker could not be reached. The ID may be empty. `advice` maps error reasons to
// advice for the user.
func (c *connection) explainFailure(ctx context.Context, id string, err error, advice map[string]string) error {
	failed := readFailure(err)
	switch failed.reason {
	case "":
		_, explained := c.explainCall(ctx, err)
		return explained
	case "CALLER_UNAUTHENTICATED":
		return refusal(id, failed.reason, failed.message, failed.retryDelay, c.howToIdentify())
	}
	return refusal(id, failed.reason, failed.message, failed.retryDelay, advice[failed.reason])
}

func (c *connection) howToIdentify() string {
	certificate, token := c.files.CertificateFile != "", c.tokenFile != ""
	switch {
	case token && certificate:
		return "The broker accepts neither the token nor the certificate: check its 'authentication' and 'listen.tls'."
	case token:
		return "The broker does not accept the token: check whether it has expired, and the broker's 'authentication'."
	case certificate:
		return "The broker does not accept the client certificate: check its listen.tls.client_ca_file."
	case c.isSocket():
		return "Identify yourself with --token-file FILE, or enable authentication.peer_user in the broker's configuration."
	}
	return "Identify yourself with --token-file FILE, or with --tls-cert FILE and --tls-key FILE."
}
