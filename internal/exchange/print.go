package exchange

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/jsonpath"
)

const maxShown = 2000 // characters of a body

// Printer prints exchanges.
type Printer struct {
	// Line prints one line, which may contain control characters.
	Line func(text string)
	Mask *Mask
	// SignsJWTs is true if the requests have JWTs that the broker signed. Their header and claims are
	// printed.
	SignsJWTs bool
	// Headers are the names of headers of answers that are printed in addition to the usual ones.
	Headers []string
}

// Print prints an exchange. If the answer is one to a token request that succeeded, it may contain a
// token where the definition does not expect it, so Print shows the values of few members.
func (p *Printer) Print(e *Exchange, forToken bool) {
	p.linef("%s %s", e.Request.Method, p.Mask.Text(e.Request.URL.String()))
	for _, name := range slices.Sorted(maps.Keys(e.Request.Header)) {
		for _, value := range e.Request.Header[name] {
			p.linef("%s: %s", name, p.header(name, value))
		}
	}
	p.body(p.Mask.Text(string(e.Sent)))
	p.signed(e)
	if e.Err != nil {
		p.linef("\nno answer: %s", egress.Cause(e.Err))
		return
	}
	p.linef("\nHTTP %d", e.Response.StatusCode)
	for _, name := range slices.Sorted(maps.Keys(e.Response.Header)) {
		p.answerHeader(name, e.Response.Header[name])
	}
	p.body(p.answer(e.Received(), forToken && e.Response.StatusCode/100 == 2))
}

func (p *Printer) linef(format string, parts ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, parts...), "\n") {
		p.Line(line)
	}
}

func (p *Printer) body(text string) {
	if text = strings.TrimSpace(text); text == "" {
		return
	}
	if cut := []rune(text); len(cut) > maxShown {
		text = string(cut[:maxShown]) + " ..."
	}
	p.linef("\n%s", text)
}

// header returns the value of a header of a request. Nothing of an Authorization but the scheme is
// shown, unless the mask knows which part is the secret.
func (p *Printer) header(name, value string) string {
	shown := p.Mask.Text(value)
	if name != "Authorization" {
		return shown
	}
	scheme, rest, found := strings.Cut(shown, " ")
	switch {
	case !found && strings.HasPrefix(shown, "["):
		return shown
	case !found:
		return hidden
	case scheme == "Basic" || !strings.Contains(rest, "["):
		return scheme + " " + hidden
	}
	return shown
}

// usualHeaders are the headers of answers that help people to understand an answer.
var usualHeaders = []string{"Content-Type", "Location", "Retry-After", "Www-Authenticate"}

func (p *Printer) answerHeader(name string, values []string) {
	isNamed := func(other string) bool { return http.CanonicalHeaderKey(other) == name }
	for _, value := range values {
		switch {
		case name == "Set-Cookie":
			cookie, _, _ := strings.Cut(value, "=")
			p.linef("%s: %s=%s", name, p.Mask.Answer(cookie), hidden)
		case slices.Contains(usualHeaders, name) || slices.ContainsFunc(p.Headers, isNamed):
			p.linef("%s: %s", name, p.Mask.Answer(value))
		}
	}
}

// answer returns the body of an answer. JSON is decoded, so that no secret is hidden from the mask by
// an escape sequence.
func (p *Printer) answer(body []byte, forToken bool) string {
	value, err := jsonpath.Decode(body)
	switch {
	case err != nil && forToken && len(body) > 0:
		return fmt.Sprintf("(%d bytes, which are not JSON and may contain a token)", len(body))
	case err != nil:
		return p.Mask.Answer(string(body))
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(p.value("", value, forToken)); err != nil {
		return hidden
	}
	return text.String()
}

var (
	secretMembers = regexp.MustCompile(`(?i)(token|secret|password|key|session|jwt|assertion|cookie|credential)s?$`)
	// plainMembers are members of answers to token requests that never contain a token.
	plainMembers = regexp.MustCompile(`(?i)^(token_?type|scopes?|expires?.*|.*_at|.*_in|error.*|message|msg|detail|title|status|success|code|type)$`)
)

func (p *Printer) value(name string, value any, forToken bool) any {
	switch value := value.(type) {
	case map[string]any:
		shown := map[string]any{}
		for member, item := range value {
			shown[p.Mask.Answer(member)] = p.value(nameInside(name, member, item), item, forToken)
		}
		return shown
	case []any:
		shown := []any{}
		for _, item := range value {
			shown = append(shown, p.value(name, item, forToken))
		}
		return shown
	case json.Number:
		if text := value.String(); p.Mask.Text(text) != text || secretMembers.MatchString(name) {
			return hidden
		}
		return value
	case string:
		if value != "" && (secretMembers.MatchString(name) || forToken && !plainMembers.MatchString(name)) {
			return hidden
		}
		return p.Mask.Answer(value)
	default:
		return value
	}
}

// nameInside returns the name that decides whether an item of an object is shown. It is the member's
// own name, unless the object is below a name of secrets and the item may be one of them. A number
// with a name in the plural, such as total_tokens, is a count.
func nameInside(object, member string, item any) string {
	_, isText := item.(string)
	_, isNumber := item.(json.Number)
	isPlain := (isText || isNumber) && plainMembers.MatchString(member)
	switch {
	case secretMembers.MatchString(object) && !isPlain:
		return object
	case isNumber && strings.HasSuffix(strings.ToLower(member), "s"):
		return ""
	}
	return member
}
