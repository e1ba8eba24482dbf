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
	// minMaterial is the minimum size in bytes of a value that counts as material in a Location
	// header. Shorter values may occur there by chance.
	minMaterial = 4
	// maxUnescape is how often a Location header is unescaped. A URL inside a parameter of
	// another URL is escaped twice.
	maxUnescape = 3
)

// cleanLocation removes material from the Location header of a response. Otherwise http.Client
// would print the material in the error of a redirect. cleanLocation removes the decoration's
// parameters from the query. If the header still contains material, it is deleted. The argument
// asked is the URL of the caller's request.
func cleanLocation(header http.Header, asked *url.URL, decoration *authmaterialv1.AuthDecoration) {
	location := header.Get("Location")
	if location == "" {
		return
	}
	target, err := url.Parse(location)
	if err != nil { // http.Client would print the invalid URL in its error
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
	if hasMaterial(strings.Join(header.Values("Location"), "\n"), asked.String(), decoration) {
		header.Del("Location")
	}
}

// hasMaterial reports whether location contains a value of the decoration. A value that the
// caller's own URL contains is not secret: for example, an account name in the host.
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

// withoutScheme returns the token in a header value such as "Bearer token".
func withoutScheme(value string) string {
	if _, token, found := strings.Cut(value, " "); found && len(token) >= minMaterial {
		return token
	}
	return value
}

// escaped matches one percent-encoded byte of a URL.
var escaped = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// unescape returns a URL unchanged, then unescaped once, twice and so on, up to maxUnescape
// times. Each form is on its own line. Each plus sign becomes a space, because a query can
// encode a space as a plus sign.
func unescape(text string) string {
	forms := []string{text}
	for range maxUnescape {
		text = escaped.ReplaceAllStringFunc(text, func(one string) string {
			plain, _ := url.PathUnescape(one) // never fails for text that the variable escaped matches
			return plain
		})
		forms = append(forms, text)
	}
	return strings.ReplaceAll(strings.Join(forms, "\n"), "+", " ")
}
