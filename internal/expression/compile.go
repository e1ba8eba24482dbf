package expression

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
)

// Problem describes a mistake in a text with expressions.
type Problem struct {
	// Offset is the position of the mistake in the text, in bytes from 0.
	Offset int
	// Message quotes nothing from the text, because a user may have entered a secret there by
	// mistake.
	Message string
}

// Literal returns the Template of a text that has no expression, or nil if the text contains `${`.
func Literal(text string) *Template {
	switch {
	case strings.Contains(text, "${"):
		return nil
	case text == "":
		return &Template{}
	default:
		return &Template{text: text, parts: []Part{{Literal: text}}}
	}
}

// Compile compiles a text with expressions. Compile returns either a Template or the problems that it
// finds.
func (e *Environment) Compile(text string) (*Template, []Problem) {
	template := &Template{text: text}
	var problems []Problem
	for offset := 0; offset < len(text); {
		literal, rest, found := strings.Cut(text[offset:], "${")
		if literal != "" {
			template.parts = append(template.parts, Part{Literal: literal})
		}
		if !found {
			break
		}
		offset += len(literal)
		end, isComment := endOfExpression(rest)
		if end < 0 {
			problems = append(problems, Problem{offset, "`${` without its `}`"})
			break
		}
		offset += len("${")
		if isComment {
			problems = append(problems, Problem{offset + end, "an expression cannot contain a comment, which begins with `//`; if this is text, write it in quotes or outside the `${ }`"})
			break
		}
		part, wrong := e.compile(template, rest[:end])
		for _, problem := range wrong {
			problems = append(problems, Problem{offset + problem.Offset, problem.Message})
		}
		template.parts = append(template.parts, part)
		offset += end + len("}")
	}
	if problems != nil {
		return nil, problems
	}
	return template, nil
}

// endOfExpression returns the offset of the `}` that ends an expression, or of a comment before it,
// or -1 if there is neither. In quotes, there is neither.
func endOfExpression(text string) (end int, isComment bool) {
	var quote byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && c == '}':
			return i, false
		case quote == 0 && strings.HasPrefix(text[i:], "//"):
			return i, true
		}
	}
	return -1, false
}

// compile compiles one expression, and adds the expression's variables to the template.
func (e *Environment) compile(template *Template, expression string) (part Part, problems []Problem) {
	if strings.TrimSpace(expression) == "" {
		return Part{}, []Problem{{0, "`${}` holds no expression"}}
	}
	checked, issues := e.cel.Compile(expression)
	for _, issue := range issues.Errors() {
		problems = append(problems, Problem{byteOffset(expression, issue.Location), e.explain(issue.Message)})
	}
	if problems != nil {
		return Part{}, problems
	}
	program, err := e.cel.Program(checked)
	if err != nil || !checked.OutputType().IsExactType(cel.StringType) {
		return Part{}, []Problem{{0, "the expression is not a string"}}
	}
	part.program = program
	return part, e.addVariables(template, &part, checked.NativeRep(), expression)
}

// addVariables records the variables of an expression in the template and in the part.
func (e *Environment) addVariables(template *Template, part *Part, checked *ast.AST, expression string) (problems []Problem) {
	isOptional := func(expr ast.Expr) bool {
		return expr.Kind() == ast.IdentKind && slices.Contains(e.variables, Variable{Name: expr.AsIdent(), Optional: true})
	}
	// The argument `inline` is false within a function that takes a text of several lines.
	var visit func(expr ast.Expr, defaulted, inline bool)
	visit = func(expr ast.Expr, defaulted, inline bool) {
		switch expr.Kind() {
		case ast.IdentKind:
			part.Uses = appendOnce(part.Uses, expr.AsIdent())
			template.uses = appendOnce(template.uses, expr.AsIdent())
			if inline {
				template.inline = appendOnce(template.inline, expr.AsIdent())
			} else {
				template.parsed = appendOnce(template.parsed, expr.AsIdent())
			}
			if isOptional(expr) && !defaulted {
				template.needs = appendOnce(template.needs, expr.AsIdent())
			}
		case ast.CallKind:
			call := expr.AsCall()
			if call.IsMemberFunction() { // orValue
				if !isOptional(call.Target()) {
					at := byteOffset(expression, checked.SourceInfo().GetStartLocation(call.Target().ID()))
					problems = append(problems, Problem{at, "orValue() may only follow the name of an optional field"})
				}
				visit(call.Target(), true, inline)
			}
			for _, argument := range call.Args() {
				visit(argument, false, inline && !takesLines(call.FunctionName()))
			}
		}
	}
	visit(checked.Expr(), false, true)
	return problems
}

// explain translates a message of the CEL library into the terms of provider definitions.
func (e *Environment) explain(message string) string {
	switch {
	case strings.HasPrefix(message, "undeclared reference to '"):
		var names []string
		for _, variable := range e.variables {
			names = append(names, variable.Name)
		}
		return "unknown field or function; there are: " + strings.Join(append(names, signatures...), ", ")
	case strings.HasPrefix(message, "found no matching overload"):
		return "only strings can be used here: " + allowed
	default:
		return "this is not an expression: use " + allowed
	}
}

// byteOffset converts a location that CEL reports into an offset in the expression.
func byteOffset(expression string, at common.Location) int {
	characters, found := common.NewTextSource(expression).LocationOffset(at)
	text := []rune(expression)
	if !found || int(characters) > len(text) {
		return 0 // CEL reports no location for an error of the whole expression, such as an excessive length
	}
	return min(len(string(text[:characters])), len(expression))
}

func appendOnce(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}
