package exchange

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const hidden = "[REDACTED]"

// Mask hides secrets in texts. A secret is also hidden where it is encoded for a URL, a form, JSON,
// HTML or base64.
type Mask struct{ names map[string]string }

// Hide makes the mask hide a text. In place of the text, the mask shows the name in brackets, or
// REDACTED if the name is empty.
func (m *Mask) Hide(text, name string) {
	if text == "" {
		return
	}
	if m.names == nil {
		m.names = map[string]string{}
	}
	shown := hidden
	if name != "" {
		shown = "[" + name + "]"
	}
	for _, form := range []string{
		base64.StdEncoding.EncodeToString([]byte(text)), base64.RawStdEncoding.EncodeToString([]byte(text)),
		base64.URLEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)),
	} {
		m.names[form] = hidden
	}
	quoted, _ := json.Marshal(text) // a text can be encoded
	unescaped := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(quoted))
	for _, form := range []string{
		html.EscapeString(text), url.PathEscape(text), url.QueryEscape(text), strings.Trim(string(quoted), `"`), strings.Trim(unescaped, `"`), text,
	} {
		if form != "" {
			m.names[form] = shown
		}
	}
}

var (
	jwts = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*`)
	// random matches texts that look like tokens of which the mask does not know.
	random = regexp.MustCompile(`[A-Za-z0-9_+=~.-]{20,}`)
	digit  = regexp.MustCompile(`[0-9]`)
	letter = regexp.MustCompile(`[A-Za-z]`)
	mixed  = regexp.MustCompile(`[a-z][A-Z]+[a-z]`)
)

// Text returns a text without the secrets.
func (m *Mask) Text(text string) string {
	longest := slices.SortedFunc(maps.Keys(m.names), func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	var pairs []string
	for _, form := range longest {
		pairs = append(pairs, form, m.names[form])
	}
	return jwts.ReplaceAllString(strings.NewReplacer(pairs...).Replace(text), "[JWT]")
}

// Answer returns a text of an answer without the secrets, and without texts that look like secrets. If
// a secret is escaped in another way, Answer returns the text without escape sequences.
func (m *Mask) Answer(text string) string {
	text = m.Text(text)
	if plain := unescape(text); m.Text(plain) != plain {
		text = m.Text(plain)
	}
	return random.ReplaceAllStringFunc(text, func(found string) string {
		if letter.MatchString(found) && digit.MatchString(found) || mixed.MatchString(found) {
			return hidden
		}
		return found
	})
}

var escaped = regexp.MustCompile(`%[0-9A-Fa-f]{2}|\\(u[0-9A-Fa-f]{4}|.)`)

// unescape replaces the escape sequences of URLs, JSON and HTML.
func unescape(text string) string {
	return html.UnescapeString(escaped.ReplaceAllStringFunc(text, func(found string) string {
		if plain, err := url.PathUnescape(found); found[0] == '%' && err == nil {
			return plain
		}
		if plain := ""; json.Unmarshal([]byte(`"`+found+`"`), &plain) == nil {
			return plain
		}
		return found
	}))
}
