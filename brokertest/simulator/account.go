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

func newClient() Client { return Client{ID: randomHex(16), Secret: randomHex(16)} }

// If there is not exactly one value, the result is "".
func only(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// bearer returns the bearer token in a request, or "" if the request has none.
func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(only(r.Header.Values("Authorization")), "Bearer ")
	if !ok {
		return ""
	}
	return token
}
