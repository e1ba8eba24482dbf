package simulator

import (
	"net/http"
	"strings"
)

// Client is an OAuth client: a client ID and the client's secret.
type Client struct {
	ID     string
	Secret string
}

// newClient returns a client with a random ID and a random secret.
func newClient() Client { return Client{ID: randomHex(16), Secret: randomHex(16)} }

// only is given all values of a header or query parameter. It returns the value if there is
// exactly one, and otherwise "".
func only(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// bearer returns the bearer token in the request r, or "" if r has none.
func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(only(r.Header.Values("Authorization")), "Bearer ")
	if !ok {
		return ""
	}
	return token
}
