// Package strategies turns credentials into material. A static method needs only the values of the
// credential's fields. A token method also needs a token, which a TokenSource requests. No code in
// this package depends on a particular provider, because the definitions of providers are data.
package strategies

import (
	"fmt"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
)

// Pair is the name and the value of one header or query parameter.
type Pair struct {
	Name  string
	Value secret.Text
	// OnlyIfAbsent is true for a header that a caller adds only to requests without this header.
	OnlyIfAbsent bool
}

// Material is what authenticates a request when it is added to the request. Material is immutable.
type Material struct {
	Headers     []Pair
	QueryParams []Pair
}

// ValueProblem is an error: a value in a credential cannot be used as material.
type ValueProblem struct {
	// Field is the ID of the field with the value, or empty if no single value causes the problem.
	Field string
	// Message describes the problem and the use of the value, without quoting the value.
	Message string
}

// Error returns the ID of the field and the message.
func (p ValueProblem) Error() string { return strings.TrimPrefix(p.Field+": "+p.Message, ": ") }

func problem(field, format string, parts ...any) ValueProblem {
	return ValueProblem{Field: field, Message: fmt.Sprintf(format, parts...)}
}

// sample stands for a value that is not known before a request was sent.
const sample = "t"

// Check returns the problems that prevent making material from a credential. Check needs no
// network, because it uses a sample in place of each value that the provider issues.
func Check(credential *credentials.Credential) (problems []ValueProblem) {
	values := fieldValues(credential)
	if credential.Method.HasToken() {
		problems = checkToken(credential)
		for _, name := range issuedVariables(credential.Method) {
			values[name] = sample
		}
	}
	material, more := place(credential, values)
	problems = append(problems, more...)
	for _, field := range credential.Method.Fields {
		if _, set := credential.Values[field.ID]; field.Required && !set {
			problems = append(problems, problem(field.ID, "the required value is missing"))
		}
	}
	if problems == nil && len(material.Headers)+len(material.QueryParams) == 0 {
		problems = append(problems, problem("",
			"these values result in no header and no query parameter: set one of the optional fields"))
	}
	return problems
}

// Place returns the material of a credential that has no problem according to Check. For a static
// method, the token is the empty secret. Otherwise it is the Value of a token.Token.
func Place(credential *credentials.Credential, token secret.Text) (Material, error) {
	values := fieldValues(credential)
	if credential.Method.HasToken() {
		issued, err := unpack(credential.Method, token.Reveal())
		if err != nil {
			return Material{}, err
		}
		maps.Copy(values, issued)
	}
	material, problems := place(credential, values)
	if problems != nil {
		return Material{}, problems[0]
	}
	return material, nil
}

func place(credential *credentials.Credential, values map[string]string) (Material, []ValueProblem) {
	headers, problems := evaluate(credential.Method.Headers, values, invalidHeaderValue)
	params, more := evaluate(credential.Method.QueryParams, values, invalidQueryValue)
	return Material{Headers: headers, QueryParams: params}, append(problems, more...)
}

func fieldValues(credential *credentials.Credential) map[string]string {
	values := make(map[string]string, len(credential.Values)+1)
	for field, value := range credential.Values {
		values[field] = value.Reveal()
	}
	return values
}

// evaluate computes the headers or query parameters of an auth method, leaving out placements that
// need an unset optional field. The function `invalid` returns the problem of a value, or "".
func evaluate(
	placements []catalog.Placement, values map[string]string, invalid func(string) string,
) (pairs []Pair, problems []ValueProblem) {
	for _, p := range placements {
		value, set, err := p.Value.Evaluate(values)
		found := invalid(value)
		switch {
		case err != nil:
			problems = append(problems, problem(onlyField(p.Value), "%q cannot be computed from these values: %s", p.Name, err))
		case !set:
		case found != "":
			problems = append(problems, blame(p, values, found, invalid)...)
		default:
			pairs = append(pairs, Pair{Name: p.Name, Value: secret.New(value), OnlyIfAbsent: p.OnlyIfAbsent})
		}
	}
	return pairs, problems
}

// blame returns a problem for each field whose value is not valid by itself. If every field is
// valid by itself, blame returns one problem for the whole placement.
func blame(p catalog.Placement, values map[string]string, found string, invalid func(string) string) (problems []ValueProblem) {
	for _, field := range p.Value.Uses() {
		if inField := invalid(values[field]); inField != "" {
			problems = append(problems, problem(field, "the value has %s, which is not allowed in %q", inField, p.Name))
		}
	}
	if problems == nil {
		problems = append(problems, problem("", "the value of %q would have %s, which is not allowed there", p.Name, found))
	}
	return problems
}

// invalidHeaderValue describes the first problem that makes a text invalid as a header value,
// without quoting the text, or returns "" if the text is valid.
func invalidHeaderValue(text string) string {
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\n' || c == '\r':
			return fmt.Sprintf("a line break at byte %d", i+1)
		case c < ' ' || c == 0x7f:
			return fmt.Sprintf("a control character at byte %d", i+1)
		case c > '~':
			return fmt.Sprintf("a character outside ASCII at byte %d", i+1)
		}
	}
	if strings.TrimSpace(text) != text {
		return "a space at its beginning or end"
	}
	return ""
}

// invalidQueryValue describes the first problem that makes a text invalid as the value of a query
// parameter, which may be any UTF-8 text without control characters.
func invalidQueryValue(text string) string {
	if !utf8.ValidString(text) {
		return "bytes that are not UTF-8"
	}
	for i, char := range text {
		switch {
		case char == '\n' || char == '\r':
			return fmt.Sprintf("a line break at byte %d", i+1)
		case unicode.IsControl(char):
			return fmt.Sprintf("a control character at byte %d", i+1)
		}
	}
	return ""
}
