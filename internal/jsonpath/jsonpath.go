// Package jsonpath finds values in JSON documents. A path consists of names of members and indexes
// of arrays, separated by dots, such as `data.items.0.id`.
package jsonpath

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

const maxSteps = 20

// Path is a parsed path. Each step is the name of an object's member or the index of an array's
// element.
type Path []string

// otherSyntax matches paths in the notation of JSONPath (RFC 9535), in which users often write them.
var otherSyntax = regexp.MustCompile(`^\$\.|(^|[^\\])\[`)

// Parse reads a path. A dot, a backslash or a bracket in a name is written with a backslash before it.
func Parse(text string) (Path, error) {
	if otherSyntax.MatchString(text) {
		return nil, errors.New("write a path without $ and brackets, such as items.0.id for $.items[0].id; for a $ at the beginning of a name or a [ in a name, write \\$ or \\[")
	}
	path := Path{""}
	escaped := false
	for _, char := range text {
		last := len(path) - 1
		switch {
		case unicode.IsControl(char):
			return nil, errors.New("a path must not have control characters")
		case !escaped && char == '\\':
			escaped = true
			continue
		case !escaped && char == '.':
			path = append(path, "")
		default:
			path[last] += string(char)
		}
		escaped = false
	}
	for _, step := range path {
		if step == "" || escaped || len(path) > maxSteps {
			return nil, errors.New("a path has 1 to 20 names of members, separated by dots, such as data.token; write \\. for a dot in a name")
		}
	}
	return path, nil
}

// String returns the text of the path, which Parse accepts.
func (p Path) String() string {
	escape := strings.NewReplacer(`\`, `\\`, `.`, `\.`, `[`, `\[`)
	steps := make([]string, len(p))
	for i, step := range p {
		steps[i] = escape.Replace(step)
	}
	if len(steps) > 1 && steps[0] == "$" {
		steps[0] = `\$`
	}
	return strings.Join(steps, ".")
}

// MarshalText returns the text of the path.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Decode reads a text that contains one JSON value. Its numbers become a json.Number, so that they
// keep all digits.
func Decode(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is text after the JSON value")
	}
	return value, nil
}

// Find returns the value at the path in a decoded JSON value, or false if there is none.
func (p Path) Find(value any) (found any, ok bool) {
	for _, step := range p {
		switch within := value.(type) {
		case map[string]any:
			value, ok = within[step]
		case []any:
			index, err := strconv.Atoi(step)
			ok = err == nil && index >= 0 && index < len(within) && step == strconv.Itoa(index)
			if ok {
				value = within[index]
			}
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
	}
	return value, true
}

// Text returns a string, a number or a boolean as text. For any other value, and if `found` is
// false, Text returns false. The arguments are the results of Find.
func Text(value any, found bool) (text string, ok bool) {
	switch scalar := value.(type) {
	case string:
		return scalar, found
	case json.Number:
		return scalar.String(), found
	case bool:
		return strconv.FormatBool(scalar), found
	default:
		return "", false
	}
}

// Equal reports whether a value that Find returned equals a string, a float64 or a bool. Values of
// different types differ. Numbers are compared as float64.
func Equal(value, scalar any) bool {
	switch value := value.(type) {
	case json.Number:
		number, err := value.Float64()
		return err == nil && number == scalar
	case string, bool:
		return value == scalar
	default:
		return false
	}
}
