package authentication

import (
	"strings"

	"github.com/authmaterial/broker/internal/secret"
)

const (
	// maxBearer is the longest bearer token, in bytes. Tokens that Kubernetes issues have 1 to 2
	// KiB.
	maxBearer = 8 << 10
	// bearerCharacters are the characters that a bearer token may contain (RFC 6750, b64token).
	bearerCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
)

// malformed replaces any text that is not a bearer token. No authenticator accepts malformed.
var malformed = secret.New(" ")

// ParseBearer returns the bearer token of a call whose headers `authorization` have these
// values. A value has the form `Bearer TOKEN`; the case of `Bearer` does not matter. Without a
// value, or for a scheme other than Bearer, the returned token is empty. For a malformed token,
// and for two or more values, ParseBearer returns a text that no authenticator accepts.
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
