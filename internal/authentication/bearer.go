package authentication

import (
	"strings"

	"github.com/authmaterial/broker/internal/secret"
)

const (
	// maxBearer is the longest bearer token, in bytes. Those of Kubernetes have 1 to 2 KiB.
	maxBearer = 8 << 10
	// bearerCharacters are those of a bearer token (RFC 6750, b64token).
	bearerCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
)

// malformed stands for any text that is not a bearer token. No authenticator accepts it.
var malformed = secret.New(" ")

// ParseBearer returns the token of a call with these values of the header `authorization`:
// `Bearer TOKEN`, the scheme in any case. The token is empty without a value, and for another
// scheme. For a malformed token, and for two values, ParseBearer returns a text that no
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
