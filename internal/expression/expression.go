// Package expression evaluates texts with `${ }` in them, such as a provider's definition
// has: `Bearer ${token}`, `${base64(user + ':' + password)}`.
//
// The braces hold an expression of the Common Expression Language over string variables. Only
// four things of the language are declared: references, concatenation with `+`,
// `base64(text)`, and `name.orValue(text)`, the default of an optional variable. So a text is
// either rejected when it is compiled, or cheap to evaluate: values are bounded.
package expression

import (
	"errors"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Variable is a name that expressions may use. Its value is a string.
type Variable struct {
	Name string
	// Optional variables may have no value. A text that uses one without a value is left
	// out, unless the use is `name.orValue(…)`.
	Optional bool
}

// Template is a compiled text.
type Template struct {
	text  string
	parts []part
	// uses are the variables in the text, each once, in order of appearance.
	uses []string
	// needs are the optional ones of them that have no default.
	needs []string
}

// part is literal text, or a program if there is one.
type part struct {
	literal string
	program cel.Program
}

// errEvaluation replaces CEL's error, which can quote values.
var errEvaluation = errors.New("the expression cannot be evaluated")

// MarshalText returns the text as it was compiled, so that definitions can be compared.
func (t *Template) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// Uses returns the names of the variables in the text.
func (t *Template) Uses() []string { return slices.Clone(t.uses) }

// Evaluate returns the text with each `${ }` replaced by its value. It returns false if the
// text needs an optional variable that has no value: one that is empty or not in values.
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
