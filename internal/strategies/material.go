// Package strategies turns credentials into material. A static method needs only the values of the
// credential's fields. A token method also needs a token, which a TokenSource requests. No code in
// this package depends on a particular provider, because the definitions of providers are data.
package strategies

import (
	"fmt"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
)

// Pair is the name and the value of one header or query parameter.
type Pair struct {
	Name  string
	Value secret.Text
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

// Check returns the problems that prevent making material from a credential. Check needs no
// network, because it uses a single letter in place of a token.
func Check(credential *credentials.Credential) []ValueProblem {
	material, problems := place(credential, secret.New("t"))
	for _, field := range credential.Method.Fields {
		if _, set := credential.Values[field.ID]; field.Required && !set {
			problems = append(problems, problem(field.ID, "the required value is missing"))
		}
	}
	if problems == nil && len(material.Headers)+len(material.QueryParams) == 0 {
		problems = append(problems, problem("",
			"these values result in no header and no query parameter: set one of the optional fields"))
	}
	if credential.Method.TokenRequest == nil {
		return problems
	}
	// RFC 6749, appendix A, allows only visible ASCII characters and spaces in the client ID and
	// the client secret.
	for _, field := range []string{catalog.ClientIDField, catalog.ClientSecretField} {
		if found := invalidHeaderValue(credential.Values[field].Reveal()); found != "" {
			problems = append(problems, problem(field, "the value has %s, which is not allowed in a token request", found))
		}
	}
	return problems
}

// Place returns the material of a credential that has no problem according to Check. For a static
// method, the token is the empty secret.
func Place(credential *credentials.Credential, token secret.Text) (Material, error) {
	material, problems := place(credential, token)
	if problems != nil {
		return Material{}, problems[0]
	}
	return material, nil
}

func place(credential *credentials.Credential, token secret.Text) (Material, []ValueProblem) {
	values := variables(credential, token)
	headers, problems := evaluate(credential.Method.Headers, values, invalidHeaderValue)
	params, more := evaluate(credential.Method.QueryParams, values, invalidHeaderValue)
	return Material{Headers: headers, QueryParams: params}, append(problems, more...)
}

func variables(credential *credentials.Credential, token secret.Text) map[string]string {
	values := make(map[string]string, len(credential.Values)+1)
	for field, value := range credential.Values {
		values[field] = value.Reveal()
	}
	if credential.Method.TokenRequest != nil {
		values[catalog.TokenVariable] = token.Reveal()
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
			problems = append(problems, problem("", "%q cannot be computed from these values", p.Name))
		case !set:
		case found != "":
			problems = append(problems, blame(p, values, found)...)
		default:
			pairs = append(pairs, Pair{Name: p.Name, Value: secret.New(value)})
		}
	}
	return pairs, problems
}

// blame returns a problem for each field whose value is not valid in a header. If every field is
// valid by itself, blame returns one problem for the whole placement.
func blame(p catalog.Placement, values map[string]string, found string) (problems []ValueProblem) {
	for _, field := range p.Value.Uses() {
		if inField := invalidHeaderValue(values[field]); inField != "" {
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
