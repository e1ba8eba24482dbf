package catalog

import (
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/yamlfile"
)

var broken = new(expression.Template)

// maxNesting is the depth to which the values of parameters and claims may be nested.
const maxNesting = 8

// scope is what the expressions of one auth method may use. It records what they use.
type scope struct {
	fields []Field
	others []string // variables that are no fields
	used   []string
	lines  []string // variables whose values must have one line
	inURLs []string // variables that are part of a host or URL
	broken bool     // whether an expression has a problem

	environment *expression.Environment // nil until the first expression
}

func (s *scope) field(id string) *Field {
	for i := range s.fields {
		if s.fields[i].ID == id {
			return &s.fields[i]
		}
	}
	return nil
}

// with returns a copy of the scope that has more variables.
func (s *scope) with(variables ...string) *scope {
	copied := &scope{
		fields: s.fields, others: slices.Clone(s.others), broken: s.broken,
		used: slices.Clone(s.used), lines: slices.Clone(s.lines), inURLs: slices.Clone(s.inURLs),
	}
	copied.extend(variables)
	return copied
}

func (s *scope) extend(variables []string) {
	s.others, s.environment = append(s.others, variables...), nil
}

// join adds what another scope has recorded.
func (s *scope) join(other *scope) {
	s.broken = s.broken || other.broken
	s.used = append(s.used, other.used...)
	s.lines = append(s.lines, other.lines...)
	s.inURLs = append(s.inURLs, other.inURLs...)
}

func (s *scope) use(names ...string) { s.used = append(s.used, names...) }

func (s *scope) uses(name string) bool { return slices.Contains(s.used, name) }

func (s *scope) oneLine(names ...string) { s.lines = append(s.lines, names...) }

func (s *scope) prepare() error {
	if s.environment != nil {
		return nil
	}
	var variables []expression.Variable
	for _, field := range s.fields {
		variables = append(variables, expression.Variable{Name: field.ID, Optional: !field.Required})
	}
	for _, name := range s.others {
		variables = append(variables, expression.Variable{Name: name})
	}
	environment, err := expression.NewEnvironment(variables...)
	if err == nil {
		s.environment = environment
	}
	return err
}

// compile compiles a text with expressions, of `least` to `most` characters. It returns `broken` if
// the text has a problem.
func (s *scope) compile(value yamlfile.Value, least, most int) *expression.Template {
	text := value.FreeText(least, most)
	if template := expression.Literal(text); template != nil {
		return template
	}
	if s.prepare() != nil {
		s.broken = true // the problem was reported where the field is defined
		return broken
	}
	template, problems := s.environment.Compile(text)
	for _, problem := range problems {
		value.ProblemAtf(problem.Offset, "%s", problem.Message)
	}
	if problems != nil {
		s.broken = true
		return broken
	}
	if slices.ContainsFunc(template.UsesParsed(), func(name string) bool { return !isField(name) }) {
		value.Problemf("json(), fingerprint() and thumbprint() can be used only with fields, because a credential is checked before the other values are known")
	}
	s.use(template.Uses()...)
	return template
}

// compileLine does the same as compile for a text that can have only one line.
func (s *scope) compileLine(value yamlfile.Value, most int) *expression.Template {
	template := s.compile(value, 1, most)
	s.oneLine(template.UsesInline()...)
	return template
}

// compileURL does the same as compileLine for a host or a URL.
func (s *scope) compileURL(value yamlfile.Value, most int) *expression.Template {
	template := s.compileLine(value, most)
	s.inURLs = append(s.inURLs, template.Uses()...)
	return template
}

// compileJSON reads any value. Its texts are compiled, and the keys of its mappings are used as they
// are written.
func (s *scope) compileJSON(value yamlfile.Value, depth int) any {
	switch {
	case depth == 0:
		value.Problemf("is nested too deeply")
		return nil
	case value.IsList():
		list := []any{}
		for _, item := range value.List(0, 100) {
			list = append(list, s.compileJSON(item, depth-1))
		}
		return list
	case value.IsMapping():
		return s.compileObject(value, depth)
	case value.IsString():
		return s.compile(value, 0, maxParagraph)
	default:
		return value.JSON()
	}
}

func (s *scope) compileObject(mapping yamlfile.Value, depth int) map[string]any {
	object := map[string]any{}
	entries, _ := mapping.Entries()
	if len(entries) > 50 {
		mapping.Problemf("must have at most 50 keys")
	}
	for _, entry := range entries {
		object[entry.Key().Text(yamlfile.MaxText)] = s.compileJSON(entry, depth-1)
	}
	return object
}

// isField reports whether a variable is a field: the other variables have a dot in their names, or
// are the token or the JWT.
func isField(name string) bool {
	return !strings.Contains(name, ".") && name != TokenVariable && name != JWTVariable
}
