// Package expression reads texts with `${ }` in them, as a provider's definition
// has: `Bearer ${token}`, `${base64(user + ':' + password)}`.
//
// What stands between the braces is an expression of the Common Expression Language
// over string variables, cut down to four things: references, concatenation with
// `+`, `base64(text)`, and `name.orValue(text)`, the default for an optional
// variable. All else in CEL is undeclared here, so a text is either refused when it
// is compiled, or costs little: values are bounded.
package expression

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Bounds of one expression.
const (
	maxSize      = 4096      // characters
	maxRecursion = 32        // levels of nesting
	maxValue     = 128 << 10 // bytes, of each value on the way and of the result
)

// orValue is the member function that gives an optional variable a default.
const orValue = "orValue"

// Variable is a name that expressions may use. Its value is a string.
type Variable struct {
	Name string
	// Optional says that the variable may have no value. A text that uses it is then
	// left out, unless the use is `name.orValue(…)`.
	Optional bool
}

// Environment is the set of variables that a text may use.
type Environment struct {
	cel       *cel.Env
	variables []Variable
}

// NewEnvironment returns an environment with these variables. It fails when a name
// is not a CEL identifier or stands twice.
func NewEnvironment(variables ...Variable) (*Environment, error) {
	options := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(maxSize),
		cel.ParserRecursionLimit(maxRecursion),
		cel.Function(operators.Add, cel.Overload(overloads.AddString,
			[]*cel.Type{cel.StringType, cel.StringType}, cel.StringType, cel.BinaryBinding(concatenate))),
		cel.Function("base64", cel.Overload("base64_string",
			[]*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(encodeBase64))),
		cel.Function(orValue, cel.MemberOverload("string_or_value_string",
			[]*cel.Type{cel.StringType, cel.StringType}, cel.StringType, cel.BinaryBinding(firstNotEmpty))),
	}
	for i, variable := range variables {
		if !ValidName(variable.Name) {
			return nil, fmt.Errorf("%q cannot be the name of a variable", variable.Name)
		}
		if slices.ContainsFunc(variables[:i], func(v Variable) bool { return v.Name == variable.Name }) {
			return nil, fmt.Errorf("variable %q stands twice", variable.Name)
		}
		options = append(options, cel.Variable(variable.Name, cel.StringType))
	}
	env, err := cel.NewCustomEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("make the environment of expressions: %w", err)
	}
	return &Environment{cel: env, variables: slices.Clone(variables)}, nil
}

// identifier is what CEL's grammar takes for one, its reserved words included.
var identifier = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// ValidName reports whether a variable can have this name: an identifier that is no
// reserved word of CEL.
func ValidName(name string) bool {
	if !identifier.MatchString(name) {
		return false
	}
	env, err := cel.NewCustomEnv(cel.Variable(name, cel.StringType))
	if err != nil {
		return false
	}
	ast, issues := env.Compile(name)
	return issues.Err() == nil && ast.NativeRep().Expr().Kind() != celast.LiteralKind
}

func concatenate(left, right ref.Val) ref.Val {
	return bounded(left.(types.String) + right.(types.String))
}

func encodeBase64(text ref.Val) ref.Val {
	return bounded(types.String(base64.StdEncoding.EncodeToString([]byte(text.(types.String)))))
}

// bounded refuses a value that grows beyond any use.
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
