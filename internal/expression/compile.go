package expression

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// Problem is one thing wrong with a text.
type Problem struct {
	// Offset is where in the text, in bytes from 0.
	Offset int
	// Message says what is wrong.
	Message string
}

// Compile reads text. It returns every problem that it finds; the Template is nil
// when there is one.
func (e *Environment) Compile(text string) (*Template, []Problem) {
	template := &Template{text: text}
	var problems []Problem
	for rest, offset := text, 0; rest != ""; {
		literal, expression, size, closed := cut(rest)
		if literal != "" {
			template.parts = append(template.parts, part{literal: literal})
		}
		if !closed {
			problems = append(problems, Problem{offset + len(literal), "`${` without its `}`"})
			break
		}
		if size > len(literal) {
			program, found := e.compile(template, expression)
			start := offset + len(literal) + len("${")
			for _, problem := range found {
				problems = append(problems, Problem{start + problem.Offset, problem.Message})
			}
			template.parts = append(template.parts, part{program: program})
		}
		rest, offset = rest[size:], offset+size
	}
	if problems != nil {
		return nil, problems
	}
	return template, nil
}

// cut splits text into what stands before its first `${`, what stands between that
// and its `}`, and the size of both with the marks. A brace inside a string of the
// expression does not end it.
func cut(text string) (literal, expression string, size int, closed bool) {
	literal, rest, found := strings.Cut(text, "${")
	if !found {
		return literal, "", len(literal), true
	}
	var quote byte
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && c == '}':
			return literal, rest[:i], len(literal) + len("${") + i + len("}"), true
		}
	}
	return literal, "", 0, false
}

// compile compiles one expression and notes in template which variables it uses.
func (e *Environment) compile(template *Template, expression string) (cel.Program, []Problem) {
	if strings.TrimSpace(expression) == "" {
		return nil, []Problem{{0, "`${}` holds no expression"}}
	}
	checked, issues := e.cel.Compile(expression)
	if issues.Err() != nil {
		return nil, e.problems(expression, issues)
	}
	if !checked.OutputType().IsExactType(cel.StringType) {
		return nil, []Problem{{0, "the expression is not a string"}}
	}
	if problems := e.note(template, checked.NativeRep(), expression); problems != nil {
		return nil, problems
	}
	program, err := e.cel.Program(checked)
	if err != nil {
		return nil, []Problem{{0, "the expression cannot be used"}}
	}
	return program, nil
}

// note adds the variables of an expression to what the template uses and needs.
func (e *Environment) note(template *Template, checked *ast.AST, expression string) []Problem {
	var problems []Problem
	defaulted := map[int64]bool{}
	ast.PreOrderVisit(checked.Expr(), ast.NewExprVisitor(func(expr ast.Expr) {
		switch expr.Kind() {
		case ast.CallKind:
			if call := expr.AsCall(); call.FunctionName() == orValue {
				defaulted[call.Target().ID()] = true
				if !e.isOptional(call.Target()) {
					place := checked.SourceInfo().GetStartLocation(call.Target().ID())
					problems = append(problems, Problem{byteOffset(expression, place.Line(), place.Column()),
						"orValue() gives an optional field its default, and this is none"})
				}
			}
		case ast.IdentKind:
			template.uses = appendOnce(template.uses, expr.AsIdent())
			if e.isOptional(expr) && !defaulted[expr.ID()] {
				template.needs = appendOnce(template.needs, expr.AsIdent())
			}
		}
	}))
	return problems
}

// isOptional reports whether expr is a reference to an optional variable.
func (e *Environment) isOptional(expr ast.Expr) bool {
	return expr.Kind() == ast.IdentKind && slices.Contains(e.variables, Variable{Name: expr.AsIdent(), Optional: true})
}

// problems translates what CEL found.
func (e *Environment) problems(expression string, issues *cel.Issues) []Problem {
	var problems []Problem
	for _, issue := range issues.Errors() {
		problems = append(problems, Problem{
			Offset:  byteOffset(expression, issue.Location.Line(), issue.Location.Column()),
			Message: e.explain(issue.Message),
		})
	}
	return problems
}

// explain puts CEL's message into the words of somebody who writes a definition. It quotes
// nothing of the expression, in which a secret may stand by mistake.
func (e *Environment) explain(message string) string {
	switch {
	case strings.HasPrefix(message, "undeclared reference to '"):
		return "unknown field or function; there are: " + strings.Join(e.names(), ", ")
	case strings.HasPrefix(message, "found no matching overload"):
		return "only strings can be used here: fields, quoted text, `+`, base64(text) and field.orValue(text)"
	default:
		return "this is no expression: it consists of fields, quoted text, `+`, base64(text) and field.orValue(text)"
	}
}

// names are all that an expression may refer to.
func (e *Environment) names() []string {
	var names []string
	for _, variable := range e.variables {
		names = append(names, variable.Name)
	}
	return append(names, "base64(text)", "field.orValue(text)")
}

// byteOffset turns CEL's place, a line from 1 and a column of characters from 0,
// into an offset within the expression.
func byteOffset(expression string, line, column int) int {
	offset := 0
	for ; line > 1; line-- {
		end := strings.IndexByte(expression[offset:], '\n')
		if end < 0 {
			return offset
		}
		offset += end + 1
	}
	for i := range expression[offset:] {
		if column == 0 {
			return offset + i
		}
		column--
	}
	return len(expression)
}

func appendOnce(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}
