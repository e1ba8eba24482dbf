// Package strategies turns credentials into material. To make the material of a credential with
// a static method, only the values of the credential's fields are needed. To make the material
// of a credential with a token method, a token is needed, too; a TokenSource requests the token.
// The definitions of providers are data: no code in this package depends on a particular
// provider.
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

// Material is what must be added to a request to authenticate the request. It is immutable.
type Material struct {
	Headers     []Pair
	QueryParams []Pair
}

// ValueProblem describes a value in a credential that cannot be used as material. A ValueProblem
// implements the interface `error`.
type ValueProblem struct {
	// Field is the ID of the credential's field with the value. Field is empty if no single
	// value causes the problem.
	Field string
	// Message describes the problem, and what the value is used for. Message does not quote the
	// value.
	Message string
}

// Error returns a text with the ID of the field and the message.
func (p ValueProblem) Error() string { return strings.TrimPrefix(p.Field+": "+p.Message, ": ") }

func problem(field, format string, parts ...any) ValueProblem {
	return ValueProblem{Field: field, Message: fmt.Sprintf(format, parts...)}
}

// Check returns the problems because of which no material can be made from a credential. Check
// needs no network, because it uses a single letter in place of a token.
func Check(credential *credentials.Credential) []ValueProblem {
	material, problems := place(credential, secret.New("t"))
	if problems == nil && len(material.Headers)+len(material.QueryParams) == 0 {
		problems = append(problems, problem("",
			"these values result in no header and no query parameter: set one of the optional fields"))
	}
	if credential.Method.TokenRequest == nil {
		return problems
	}
	// RFC 6749, appendix A: client ID and client secret consist of visible ASCII characters and
	// spaces.
	for _, field := range []string{catalog.ClientIDField, catalog.ClientSecretField} {
		if found := invalidHeaderValue(credential.Values[field].Reveal()); found != "" {
			problems = append(problems, problem(field, "the value has %s, which is not allowed in a token request", found))
		}
	}
	return problems
}

// Place returns the material of a credential, which the function Check must accept. For a static
// method, the parameter `token` is the empty secret.
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

// variables returns the values of the variables that the expressions of a
// credential can contain.
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

// evaluate computes the headers or query parameters that the placements of an
// auth method describe. A placement that needs an optional field is left out if the field is not
// set. The function `invalid` returns the problem of a value, or "" if the value is valid.
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

// blame returns a problem for each field whose value is not valid in a
// header. If no single field has an invalid value, the result is one problem for the whole
// placement.
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

// invalidHeaderValue describes the character because of which a text is not a valid header
// value. The result is "" if the text is valid. The description does not quote the text.
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
