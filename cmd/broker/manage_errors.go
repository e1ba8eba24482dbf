package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// managingAdvice maps the reason of an error of CredentialService to advice for the user.
var managingAdvice = map[string]string{ //nolint:gosec // the keys are error reasons, and no secrets
	"CREDENTIAL_NOT_FOUND":       "'broker credentials list' prints the IDs that you may view.",
	"CREDENTIAL_EXISTS":          "Choose another ID, or change that credential: see 'broker credentials --help'.",
	"CREDENTIAL_CHANGED":         "Somebody else has changed it at the same time: see 'broker credentials show ID', and repeat the command.",
	"VERSION_NOT_FOUND":          "'broker credentials versions ID' prints the versions.",
	"PROVIDER_NOT_FOUND":         "'broker providers' prints the built-in providers; the broker's configuration may define others.",
	"STORE_UNAVAILABLE":          "Credentials that the broker has read before are still served. The broker's log has the details.",
	"AUTHENTICATION_UNAVAILABLE": whatToDo["AUTHENTICATION_UNAVAILABLE"],
	"SERVER_STOPPING":            whatToDo["SERVER_STOPPING"],
	"INTERNAL":                   whatToDo["INTERNAL"],
}

// explain returns an error that explains a failed call in terms of flags and arguments. Other errors
// are returned unchanged.
func (m *manager) explain(ctx context.Context, err error) error {
	if _, ok := status.FromError(err); !ok {
		return err
	}
	failed := readFailure(err)
	switch {
	case failed.reason == "INVALID_REQUEST" && len(failed.violations) > 0:
		return m.invalid(failed)
	case failed.reason == "ACCESS_DENIED":
		return refusal("", failed.reason, failed.message, 0, m.howToGetAccess())
	}
	return m.explainFailure(ctx, "", err, managingAdvice)
}

func (m *manager) howToGetAccess() string {
	if !m.isSocket() && m.tokenFile == "" && m.files.CertificateFile == "" {
		return "Identify yourself with --token-file or --tls-cert, or use the broker's Unix socket: --address unix:///PATH."
	}
	return "The broker's configuration needs a grant with this ID, your name and the action 'view' or 'manage'."
}

// invalid returns an error that lists the invalid parts of a request.
func (m *manager) invalid(failed failure) error {
	text := "the broker does not accept the request:"
	for _, violation := range failed.violations {
		text += "\n  " + printable(m.wordFor(violation.GetField())+": "+violation.GetDescription())
	}
	return errors.New(text)
}

// words maps the fields of requests to their names for users of the command line.
var words = map[string]string{
	"credential_id":           "the ID",
	"credential.display_name": "the name",
	"credential.description":  "the description",
	"credential.labels":       "the list of labels",
	"callers":                 "the list of callers",
	"filter":                  "the filter",
	"provider":                "the provider",
	"auth_method":             "the auth method",
	"values":                  "the list of values",
	"version":                 "the version",
}

// wordFor returns the name of a request's field for users of the command line.
func (m *manager) wordFor(path string) string {
	if word, found := words[path]; found {
		return word
	}
	if id, found := strings.CutPrefix(path, "values."); found {
		for _, field := range m.method.GetFields() {
			if field.GetFieldId() == id {
				return fieldName(field)
			}
		}
		return "field " + id
	}
	if key, found := strings.CutPrefix(path, "credential.labels."); found {
		return "label " + key
	}
	var index int
	for list, word := range map[string]string{"allowed_hosts": "allowed host", "callers": "caller pattern"} {
		if _, err := fmt.Sscanf(path, list+"[%d]", &index); err == nil {
			return fmt.Sprintf("%s %d", word, index+1)
		}
	}
	return path
}

func fieldName(field *authmaterialv1.Field) string {
	return field.GetDisplayName() + " (" + field.GetFieldId() + ")"
}

func methodIDs(provider *authmaterialv1.Provider) string {
	var ids []string
	for _, method := range provider.GetAuthMethods() {
		ids = append(ids, method.GetAuthMethodId())
	}
	return strings.Join(ids, ", ")
}
