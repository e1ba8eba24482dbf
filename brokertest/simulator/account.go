package simulator

import (
	"net/http"
	"strings"
)

// Client is a client ID and its secret.
type Client struct {
	ID     string
	Secret string
}

// newClient returns a random client.
func newClient() Client { return Client{ID: randomHex(16), Secret: randomHex(16)} }

// only returns the value of a header or query parameter that occurs exactly once, and otherwise
// "".
func only(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// bearer returns r's bearer token, or "".
func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(only(r.Header.Values("Authorization")), "Bearer ")
	if !ok {
		return ""
	}
	return token
}
