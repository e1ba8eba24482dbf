package client

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	// minMaterial is the length in bytes of the shortest value that is searched for in a
	// Location header. Shorter ones occur there by chance.
	minMaterial = 4
	// maxUnescape bounds how often a Location header is unescaped. A URL in a parameter of a
	// URL is escaped twice.
	maxUnescape = 3
)

// escaped matches one escaped byte of a URL.
var escaped = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// cleanLocation removes material from the Location header of the response to a request for
// asked. Otherwise http.Client would print it in the error of a redirect. It removes the
// decoration's parameters from the query, and deletes the header if it still holds material.
func cleanLocation(header http.Header, asked *url.URL, decoration *authmaterialv1.AuthDecoration) {
	location := header.Get("Location")
	if location == "" {
		return
	}
	target, err := url.Parse(location)
	if err != nil { // http.Client would print it
		header.Del("Location")
		return
	}
	rest := target.RawQuery
	for _, param := range decoration.GetQueryParams() {
		rest = removeParam(rest, param.GetName())
	}
	if rest != target.RawQuery {
		target.RawQuery = rest
		header.Set("Location", target.String())
	}
	if holdsMaterial(strings.Join(header.Values("Location"), "\n"), asked.String(), decoration) {
		header.Del("Location")
	}
}

// holdsMaterial reports whether a value of the decoration occurs in location. Values that
// the caller's own URL has are no secret, such as an account in the name of the host.
func holdsMaterial(location, asked string, decoration *authmaterialv1.AuthDecoration) bool {
	var values []string
	for _, header := range decoration.GetHeaders() {
		values = append(values, withoutScheme(header.GetValue()))
	}
	for _, param := range decoration.GetQueryParams() {
		values = append(values, param.GetValue())
	}
	there, known := unescape(location), unescape(asked)
	return slices.ContainsFunc(values, func(value string) bool {
		value = strings.ReplaceAll(value, "+", " ")
		return len(value) >= minMaterial && strings.Contains(there, value) && !strings.Contains(known, value)
	})
}

// withoutScheme returns the token of a header value such as "Bearer token".
func withoutScheme(value string) string {
	if _, token, found := strings.Cut(value, " "); found && len(token) >= minMaterial {
		return token
	}
	return value
}

// unescape returns a URL as it is and unescaped up to maxUnescape times, each on a
// line, with a space for each plus: a query may have either.
func unescape(text string) string {
	forms := []string{text}
	for range maxUnescape {
		text = escaped.ReplaceAllStringFunc(text, func(one string) string {
			plain, _ := url.PathUnescape(one) // it takes all that escaped matches
			return plain
		})
		forms = append(forms, text)
	}
	return strings.ReplaceAll(strings.Join(forms, "\n"), "+", " ")
}
