package jsonbody

import (
	"errors"
	"slices"
	"strings"
)

// Path is the steps from a body to a value in it.
type Path []string

var (
	errBackslash = errors.New(`must have a backslash only in "\." and "\\"`)
	errStep      = errors.New("must be names of members and indexes of elements, separated by dots, such as data.items.0.id")
)

// ParsePath reads the text form of a path: the steps, separated by dots. In a step, `\.` is a dot,
// and `\\` is a backslash. The text of the error quotes nothing from the path.
func ParsePath(text string) (Path, error) {
	path, step, escaped := Path{}, []byte{}, false
	for i := range len(text) {
		switch c := text[i]; {
		case escaped && c != '.' && c != '\\':
			return nil, errBackslash
		case !escaped && c == '\\':
			escaped = true
		case !escaped && c == '.':
			path, step = append(path, string(step)), step[:0]
		default:
			step, escaped = append(step, c), false
		}
	}
	path = append(path, string(step))
	switch {
	case escaped:
		return nil, errBackslash
	case slices.Contains(path, ""):
		return nil, errStep
	}
	return path, nil
}

var escaper = strings.NewReplacer(`\`, `\\`, `.`, `\.`)

// String returns the text form of the path.
func (p Path) String() string {
	steps := make([]string, len(p))
	for i, step := range p {
		steps[i] = escaper.Replace(step)
	}
	return strings.Join(steps, ".")
}
