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
	// minMaterial is the minimum size, in bytes, of a secret value that hasMaterial looks for. A
	// Location header may contain a shorter value by chance.
	minMaterial = 4
	// maxUnescape is how many times a Location header is unescaped. A URL inside a query
	// parameter of another URL is escaped twice.
	maxUnescape = 3
)

// cleanLocation removes the decoration's query parameters from the Location header of a response,
// because http.Client would print them in its error about a redirect. If the header then still
// contains a secret value, cleanLocation deletes the header. `asked` is the URL of the caller's
// request; values that it contains are not secret.
func cleanLocation(header http.Header, asked *url.URL, decoration *authmaterialv1.AuthDecoration) {
	locations := header["Location"]
	if len(locations) == 0 {
		return
	}
	target, err := url.Parse(locations[0])
	if err != nil { // an error of http.Client would contain the invalid URL
		header.Del("Location")
		return
	}
	query := target.RawQuery
	for _, param := range decoration.GetQueryParams() {
		target.RawQuery = removeParam(target.RawQuery, param.GetName())
	}
	if target.RawQuery != query {
		header.Set("Location", target.String())
	}
	if hasMaterial(strings.Join(header["Location"], "\n"), asked.String(), decoration) {
		header.Del("Location")
	}
}

// hasMaterial reports whether a Location header contains a secret value of the decoration. A
// value in the caller's own URL is not secret, for example an account name in the host.
func hasMaterial(location, asked string, decoration *authmaterialv1.AuthDecoration) bool {
	var values []string
	for _, header := range decoration.GetHeaders() {
		values = append(values, withoutScheme(header.GetValue()))
	}
	for _, param := range decoration.GetQueryParams() {
		values = append(values, param.GetValue())
	}
	location, asked = unescape(location), unescape(asked)
	return slices.ContainsFunc(values, func(value string) bool {
		value = strings.ReplaceAll(value, "+", " ")
		return len(value) >= minMaterial && strings.Contains(location, value) && !strings.Contains(asked, value)
	})
}

// withoutScheme returns only the token from a header value such as "Bearer TOKEN".
func withoutScheme(value string) string {
	if _, token, found := strings.Cut(value, " "); found && len(token) >= minMaterial {
		return token
	}
	return value
}

// `escaped` matches one percent-encoded byte of a URL.
var escaped = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// unescape returns several forms of a URL, each on its own line: unchanged, unescaped once,
// unescaped twice, and so on up to maxUnescape times. Each plus sign becomes a space, because a
// space in a query can be encoded as a plus sign.
func unescape(text string) string {
	forms := []string{text}
	for range maxUnescape {
		text = escaped.ReplaceAllStringFunc(text, func(one string) string {
			plain, _ := url.PathUnescape(one) // PathUnescape cannot fail, because the text is one percent-encoded byte
			return plain
		})
		forms = append(forms, text)
	}
	return strings.ReplaceAll(strings.Join(forms, "\n"), "+", " ")
}
