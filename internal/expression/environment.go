package expression

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// These are the limits of one expression.
const (
	maxSize      = 4096      // in characters
	maxRecursion = 32        // levels of nesting
	maxValue     = 128 << 10 // size limit of each intermediate value and of the result, in bytes
)

// orValue is the name of the function that sets a default for an optional variable.
const orValue = "orValue"

// Environment is the set of variables that the expressions of a text may use.
type Environment struct {
	cel       *cel.Env
	variables []Variable
}

// base is the environment without variables.
var base = sync.OnceValues(func() (*cel.Env, error) {
	text := cel.StringType
	options := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(maxSize),
		cel.ParserRecursionLimit(maxRecursion),
		cel.Function(operators.Add, cel.Overload(overloads.AddString, []*cel.Type{text, text}, text, cel.BinaryBinding(concatenate))),
		cel.Function(orValue, cel.MemberOverload("string_or_value_string", []*cel.Type{text, text}, text, cel.BinaryBinding(firstNotEmpty))),
	}
	for _, f := range functions {
		options = append(options, f.option())
	}
	return cel.NewCustomEnv(options...)
})

// NewEnvironment returns an environment with the given variables. A name that is not valid or is
// a duplicate causes an error.
func NewEnvironment(variables ...Variable) (*Environment, error) {
	var options []cel.EnvOption
	for i, variable := range variables {
		repeats := func(earlier Variable) bool { return earlier.Name == variable.Name }
		if !ValidName(variable.Name) || slices.ContainsFunc(variables[:i], repeats) {
			return nil, fmt.Errorf("the variable %q has an invalid name, or occurs twice", variable.Name)
		}
		options = append(options, cel.Variable(variable.Name, cel.StringType))
	}
	env, err := base()
	if err != nil {
		return nil, err
	}
	env, err = env.Extend(options...)
	return &Environment{cel: env, variables: slices.Clone(variables)}, err
}

// This pattern also matches the reserved words of CEL.
var identifier = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// ValidName reports whether a variable can have this name: it must consist of one or more
// identifiers, separated by dots, and none of them may be a reserved word of CEL.
func ValidName(name string) bool {
	first, rest, dotted := strings.Cut(name, ".")
	return validIdentifier(first) && (!dotted || ValidName(rest))
}

func validIdentifier(name string) bool {
	env, err := base()
	if err != nil || !identifier.MatchString(name) {
		return false
	}
	ast, issues := env.Parse(name)
	return issues.Err() == nil && ast.NativeRep().Expr().Kind() != celast.LiteralKind
}

func concatenate(left, right ref.Val) ref.Val {
	return bounded(left.(types.String) + right.(types.String))
}

func bounded(value types.String) ref.Val {
	if len(value) > maxValue {
		return types.NewErr("the value is too long")
	}
	return value
}

func firstNotEmpty(text, otherwise ref.Val) ref.Val {
	if text.(types.String) == "" {
		return otherwise
	}
	return text
}
