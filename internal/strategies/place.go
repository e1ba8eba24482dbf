package strategies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
)

// ValueProblem is a value of a credential that cannot become material.
type ValueProblem struct {
	// Field is the ID of the field, or empty when it is not one value's fault.
	Field string
	// Message says what is wrong and where it would go. It does not quote the value.
	Message string
}

// ValueProblems are all of a credential's.
type ValueProblems []ValueProblem

// Error lists the problems.
func (p ValueProblems) Error() string {
	var lines []string
	for _, problem := range p {
		lines = append(lines, strings.TrimPrefix(problem.Field+": "+problem.Message, ": "))
	}
	return strings.Join(lines, "; ")
}

// Check says what keeps a credential from becoming material, or nil. It needs no
// network: for a token it takes a letter.
func Check(credential *credentials.Credential) ValueProblems {
	var problems ValueProblems
	method := credential.Method
	values := variables(credential, secret.New("t"))
	placed := 0
	for _, p := range slices.Concat(method.Headers, method.QueryParams) {
		value, ok, err := p.Value.Evaluate(values)
		if !ok && err == nil {
			continue
		}
		placed++
		if what := unfit(value); err != nil || what != "" {
			problems = append(problems, blame(p, values, what)...)
		}
	}
	if placed == 0 {
		problems = append(problems, ValueProblem{"", "no header and no query parameter comes of these values: set one of the optional fields"})
	}
	if method.TokenRequest != nil {
		problems = append(problems, checkClient(values)...)
	}
	return problems
}

// blame finds the values because of which a placement cannot be sent.
func blame(p catalog.Placement, values map[string]string, what string) ValueProblems {
	if what == "" {
		return ValueProblems{{"", fmt.Sprintf("%q cannot be computed from these values", p.Name)}}
	}
	var problems ValueProblems
	for _, field := range p.Value.Uses() {
		if found := unfit(values[field]); found != "" {
			problems = append(problems, ValueProblem{field, fmt.Sprintf("the value has %s, which %q cannot carry", found, p.Name)})
		}
	}
	if problems == nil {
		problems = ValueProblems{{"", fmt.Sprintf("what %q would be set to has %s, which it cannot carry", p.Name, what)}}
	}
	return problems
}

// checkClient reports a client ID or secret outside the characters that RFC 6749,
// appendix A, allows: visible ASCII and spaces.
func checkClient(values map[string]string) ValueProblems {
	var problems ValueProblems
	for _, field := range []string{catalog.ClientIDField, catalog.ClientSecretField} {
		if found := unfit(values[field]); found != "" {
			problems = append(problems, ValueProblem{field, fmt.Sprintf("the value has %s, which a token request cannot carry", found)})
		}
	}
	return problems
}

// unfit says what in text keeps it from being the value of a header, or nothing. The
// text itself is not quoted.
func unfit(text string) string {
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

// place returns the material of a credential, with this token in it. Placements that
// need an optional field which is not set are left out.
func place(credential *credentials.Credential, token secret.Text) (Material, error) {
	values := variables(credential, token)
	headers, err := evaluate(credential.Method.Headers, values)
	if err != nil {
		return Material{}, err
	}
	params, err := evaluate(credential.Method.QueryParams, values)
	if err != nil {
		return Material{}, err
	}
	return Material{Headers: headers, QueryParams: params}, nil
}

func evaluate(placements []catalog.Placement, values map[string]string) ([]Pair, error) {
	var pairs []Pair
	for _, p := range placements {
		value, ok, err := p.Value.Evaluate(values)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", p.Name, err)
		}
		if !ok {
			continue
		}
		if what := unfit(value); what != "" {
			return nil, fmt.Errorf("%q would have %s", p.Name, what)
		}
		pairs = append(pairs, Pair{Name: p.Name, Value: secret.New(value)})
	}
	return pairs, nil
}

// variables are those of a credential's expressions.
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
