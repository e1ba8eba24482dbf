// Package expression evaluates texts that contain expressions in `${ }`, such as the texts in
// definitions of providers. Examples are `Bearer ${token}` and `${base64(user + ':' +
// password)}`.
//
// Between the braces is an expression of the Common Expression Language (CEL), in which all
// variables are strings. Only these features of CEL are available: references to variables,
// concatenation with `+`, `name.orValue(text)`, which sets a default for an optional variable, and
// the functions of this package, which read neither the clock nor the network. A text is therefore
// either rejected when it is compiled, or cheap to evaluate. The size of all values is limited.
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
	text   string
	parts  []Part
	uses   []string // names of the variables, without duplicates, in order of appearance
	needs  []string // names of the optional variables without a default
	inline []string // names of the variables that UsesInline returns
	parsed []string // names of the variables that UsesParsed returns
}

// Part is a part of a text: either literal text, or one expression.
type Part struct {
	// Literal is the literal text, and empty for an expression.
	Literal string
	// Uses are the names of the variables in the expression, without duplicates.
	Uses    []string
	program cel.Program
}

// IsExpression reports whether the part is an expression.
func (p Part) IsExpression() bool { return p.program != nil }

// errEvaluation replaces CEL's errors, which can quote values.
var errEvaluation = errors.New("the expression cannot be evaluated")

// String returns the text from which the template was compiled.
func (t *Template) String() string { return t.text }

// MarshalText returns the text from which the template was compiled, so that definitions can be
// compared.
func (t *Template) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// Uses returns the names of the variables in the text.
func (t *Template) Uses() []string { return slices.Clone(t.uses) }

// UsesInline returns the names of the variables that occur outside the arguments of functions such as
// json(text, path), whose texts usually have several lines.
func (t *Template) UsesInline() []string { return slices.Clone(t.inline) }

// UsesParsed returns the names of the variables that occur in the arguments of such functions. These
// functions fail if the value of a variable does not have their form.
func (t *Template) UsesParsed() []string { return slices.Clone(t.parsed) }

// Parts returns the parts of the text.
func (t *Template) Parts() []Part { return slices.Clone(t.parts) }

// Evaluate replaces each `${ }` in the text by the value of its expression. Evaluate returns false
// if the text needs an optional variable that has no value or an empty one.
func (t *Template) Evaluate(values map[string]string) (text string, ok bool, err error) {
	var out strings.Builder
	ok, err = t.EvaluateParts(values, func(_ int, text string) error {
		out.WriteString(text)
		return nil
	})
	if !ok || err != nil {
		return "", false, err
	}
	return out.String(), true, nil
}

// EvaluateParts calls the function `each` with the number and the text of each part, in order, and
// returns the first error of `each`. It returns false in the same cases as Evaluate, without a call.
func (t *Template) EvaluateParts(values map[string]string, each func(number int, text string) error) (ok bool, err error) {
	for _, name := range t.needs {
		if values[name] == "" {
			return false, nil
		}
	}
	activation := make(map[string]any, len(t.uses))
	for _, name := range t.uses {
		activation[name] = values[name]
	}
	for number, part := range t.parts {
		text := part.Literal
		if part.IsExpression() {
			value, _, err := part.program.Eval(activation)
			result, isString := value.(types.String)
			if ours, ok := errors.AsType[*functionError](err); ok {
				return false, ours
			}
			if err != nil || !isString {
				return false, errEvaluation
			}
			text = string(result)
		}
		if err := each(number, text); err != nil {
			return false, err
		}
	}
	return true, nil
}
