// Package expression evaluates texts that contain `${ }`, as definitions of providers do.
// Examples are `Bearer ${token}` and `${base64(user + ':' + password)}`.
//
// The braces contain an expression of the Common Expression Language (CEL) over string
// variables. Only four features of CEL are available: references to variables, concatenation
// with `+`, `base64(text)`, and `name.orValue(text)`, which sets a default for an optional
// variable. With these features only, a text is either rejected when it is compiled, or cheap to
// evaluate. The size of all values is limited.
package expression

import (
	"errors"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Variable is a variable that expressions may use. The value of a variable is a string.
type Variable struct {
	Name string
	// Optional is true if the variable may have no value. If a variable has no value, each text
	// that uses the variable is left out of the request, unless the text uses it as
	// `name.orValue(…)`.
	Optional bool
}

// Template is a compiled text with expressions.
type Template struct {
	text  string
	parts []part
	// uses are the variables in the text, without duplicates, in order of appearance.
	uses []string
	// needs are the optional variables in the text that have no default.
	needs []string
}

// part is a part of a text: an expression if it has a program, and literal text otherwise.
type part struct {
	literal string
	program cel.Program
}

// errEvaluation replaces errors of CEL, which can quote values.
var errEvaluation = errors.New("the expression cannot be evaluated")

// MarshalText returns the text from which the template was compiled, so that definitions can be
// compared.
func (t *Template) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// Uses returns the names of the variables in the text.
func (t *Template) Uses() []string { return slices.Clone(t.uses) }

// Evaluate returns the text with each `${ }` replaced by its value. Evaluate returns false if
// the text needs an optional variable without a value. A variable has no value if it is empty or
// missing in values.
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
