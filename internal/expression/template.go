package expression

import (
	"errors"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Template is a text whose `${ }` are compiled.
type Template struct {
	text  string
	parts []part
	// uses are the variables that the text refers to, each once, in their order.
	uses []string
	// needs are the optional ones among them without which the text is left out.
	needs []string
}

// part is literal text, or a program where there is one.
type part struct {
	literal string
	program cel.Program
}

// errEvaluation hides what CEL says when an evaluation fails: it can quote values.
var errEvaluation = errors.New("the expression could not be evaluated")

// MarshalText returns the text as it was compiled, so that definitions can be compared.
func (t *Template) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// Uses are the names of the variables that the text refers to.
func (t *Template) Uses() []string { return slices.Clone(t.uses) }

// Evaluate returns the text with each `${ }` replaced. It says false when the text
// needs an optional variable that has no value. A variable has no value when it is
// absent from values or empty.
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
		if err != nil {
			return "", false, errEvaluation
		}
		result, isString := value.(types.String)
		if !isString {
			return "", false, errEvaluation
		}
		out.WriteString(string(result))
	}
	return out.String(), true, nil
}
