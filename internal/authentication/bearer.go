package authentication

import (
	"strings"

	"github.com/authmaterial/broker/internal/secret"
)

// maxBearer is how long a bearer token is at most, in bytes. One of Kubernetes has between
// 1 and 2 KiB.
const maxBearer = 8 << 10

// malformed stands for what can be no bearer token, and is none itself.
var malformed = secret.New(" ")

// ParseBearer returns the token of a call that has these values of `authorization`:
// `Bearer TOKEN`, the scheme in any case. It is empty when there are none, and when the one
// that there is has another scheme. What can be no token, and two values, become a text
// that no authenticator accepts.
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
	if token == "" || len(token) > maxBearer || strings.ContainsFunc(token, notOfToken) {
		return malformed
	}
	return secret.New(token)
}

// notOfToken reports whether a bearer token cannot hold a character (RFC 6750, b64token).
func notOfToken(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	default:
		return !strings.ContainsRune("-._~+/=", r)
	}
}
