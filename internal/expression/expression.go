// Package expression evaluates texts that contain expressions in `${ }`, such as the texts in
// definitions of providers. Examples are `Bearer ${token}` and `${base64(user + ':' +
// password)}`.
//
// Between the braces is an expression of the Common Expression Language (CEL), in which all
// variables are strings. Only four features of CEL are available: references to variables,
// concatenation with `+`, `base64(text)`, and `name.orValue(text)`, which sets a default for an
// optional variable. A text is therefore either rejected when it is compiled, or cheap to
// evaluate. The size of all values is limited.
package expression

import (
	"errors"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Variable is a variable that expressions may use. The value of a Variable is a string.
type Variable struct {
	Name string
	// Optional is true if the variable may have no value. A text that uses a variable without a
	// value is left out of the request, unless it uses the variable as `name.orValue(…)`.
	Optional bool
}

// Template is a compiled text with expressions.
type Template struct {
	text  string
	parts []part
	uses  []string // names of the variables, without duplicates, in order of appearance
	needs []string // names of the optional variables without a default
}

// part is an expression if it has a program, and otherwise literal text.
type part struct {
	literal string
	program cel.Program
}

// errEvaluation replaces CEL's errors, which can quote values.
var errEvaluation = errors.New("the expression cannot be evaluated")

// MarshalText returns the text from which the template was compiled, so that definitions can be
// compared.
func (t *Template) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// Uses returns the names of the variables in the text.
func (t *Template) Uses() []string { return slices.Clone(t.uses) }

// Evaluate replaces each `${ }` in the text by the value of its expression. Evaluate returns false
// if the text needs an optional variable that has no value or an empty one.
func (t *Template) Evaluate(values map[string]string) (text string, ok bool, err error) {
	for _, name := range t.needs {
		if values[name] == "" {
			return "", false, nil
		}
	}
	activation := make(map[string]any, len(t.uses))
	for _, name := range t.uses {
		activation[name] = values[name]
	}
	var out strings.Builder
	for _, part := range t.parts {
		if part.program == nil {
			out.WriteString(part.literal)
			continue
		}
		value, _, err := part.program.Eval(activation)
		result, isString := value.(types.String)
		if err != nil || !isString {
			return "", false, errEvaluation
		}
		out.WriteString(string(result))
	}
	return out.String(), true, nil
}
