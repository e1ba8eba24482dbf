package authentication

import (
	"strings"

	"github.com/authmaterial/broker/internal/secret"
)

const (
	// maxBearer is the largest length of a bearer token, in bytes. Tokens that Kubernetes issues
	// have 1 to 2 KiB.
	maxBearer = 8 << 10
	// bearerCharacters are the characters that a bearer token may contain (RFC 6750, b64token).
	bearerCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
)

// The constant `malformed` replaces any text that is not a bearer token. No authenticator
// accepts this constant.
var malformed = secret.New(" ")

// ParseBearer returns the bearer token of a call. The argument contains the values of the call's
// headers `authorization`. A value has the form `Bearer TOKEN`; the case of `Bearer` does not
// matter. If there is no value, or if the scheme is not Bearer, the returned token is empty. If
// the token is malformed, or if there are two or more values, ParseBearer returns a text that no
// authenticator accepts.
func ParseBearer(values []string) secret.Text {
	if len(values) == 0 {
		return secret.Text{}
	}
	if len(values) > 1 {
		return malformed
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return secret.Text{}
	}
	token = strings.Trim(token, " ")
	if token == "" || len(token) > maxBearer || strings.Trim(token, bearerCharacters) != "" {
		return malformed
	}
	return secret.New(token)
}
