package authentication

import (
	"strings"

	"github.com/authmaterial/broker/internal/secret"
)

const (
	// maxBearer is the maximum length of a bearer token in bytes. Kubernetes issues tokens of 1 to
	// 2 KiB.
	maxBearer = 8 << 10
	// bearerCharacters are the characters that a bearer token may contain (`b64token` in RFC 6750).
	bearerCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
)

// The value `malformed` replaces any text that is not a bearer token. No authenticator accepts
// `malformed` as a token.
var malformed = secret.New(" ")

// ParseBearer returns the bearer token of a call from the values of the call's headers
// `authorization`. A value has the form `Bearer TOKEN`, where the word `Bearer` may be in upper or
// lower case. If no header has the scheme Bearer, the token is empty. If the token is malformed, or
// if there are several headers, ParseBearer returns a text that no authenticator accepts.
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
