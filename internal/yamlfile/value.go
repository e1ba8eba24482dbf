package yamlfile

import (
	"bytes"
	"fmt"
	"iter"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Value is a value in a document. Its methods check the value and return it. A value that
// breaks a rule is reported; the methods then return the zero value of their type, or the
// default that they take. The zero Value is an absent one: it has no problems.
type Value struct {
	document *Document
	node     *yaml.Node
	key      *yaml.Node // of an entry of a mapping
}

// Exists reports whether the file has the value. It may be null.
func (v Value) Exists() bool { return v.node != nil }

// Empty reports whether the value is null.
func (v Value) Empty() bool { return v.node != nil && kindOf(v.node) == isNull }

// Place returns where the value begins.
func (v Value) Place() Place {
	if v.node == nil {
		return Place{}
	}
	return Place{v.node.Line, v.node.Column}
}

// Problemf reports a problem at the value, unless it has one from which others only follow.
func (v Value) Problemf(format string, args ...any) {
	if v.node != nil && !v.document.refused[v.node] {
		v.document.Problemf(v.Place(), format, args...)
	}
}

// Warnf is Problemf for something that is allowed and probably a mistake.
func (v Value) Warnf(format string, args ...any) {
	if v.node != nil && !v.document.refused[v.node] {
		v.document.Warnf(v.Place(), format, args...)
	}
}

// Key returns the key of an entry, for problems with the key.
func (v Value) Key() Value { return Value{document: v.document, node: v.key} }

// Name returns the text of the key of an entry.
func (v Value) Name() string { return v.key.Value }

// Get returns the value of a mapping's entry.
func (v Value) Get(name string) Value {
	for entry := range v.entries() {
		if entry.Name() == name {
			return entry
		}
	}
	return Value{}
}

func (v Value) entries() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.node == nil || v.node.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i < len(v.node.Content); i += 2 {
			if !yield(Value{v.document, v.node.Content[i+1], v.node.Content[i]}) {
				return
			}
		}
	}
}

// Entries returns the values of a mapping with any keys, in order. It returns false if there is
// no mapping.
func (v Value) Entries() ([]Value, bool) {
	return slices.Collect(v.entries()), v.is(isMapping)
}

// Only returns the entry of a mapping that has exactly one. It reports anything else with the
// message.
func (v Value) Only(message string) (entry Value, ok bool) {
	entries := slices.Collect(v.entries())
	if v.node != nil && len(entries) != 1 {
		v.document.refuse(v.node, "%s", message)
	}
	if v.node == nil || v.document.refused[v.node] {
		return Value{}, false
	}
	return entries[0], true
}

// Mapping reports each key of a mapping that is none of these. It returns the mapping.
func (v Value) Mapping(known ...string) Value {
	if v.Empty() && v.node == v.document.root {
		v.document.refuse(v.node, "the file is empty: expected a mapping with %s", quote(slices.Sorted(slices.Values(known))))
	}
	v.is(isMapping)
	for entry := range v.entries() {
		if slices.Contains(known, entry.Name()) {
			continue
		}
		if nearest, ok := Nearest(entry.Name(), known); ok {
			v.document.refuse(entry.key, "unknown key; did you mean %q?", nearest)
		} else {
			v.document.refuse(entry.key, "unknown key; known here: %s", quote(slices.Sorted(slices.Values(known))))
		}
	}
	return v
}

// Requires reports each of these keys that a mapping lacks. It returns the mapping.
func (v Value) Requires(keys ...string) Value {
	isMapping := v.is(isMapping)
	for _, key := range keys {
		if isMapping && !v.Get(key).Exists() {
			v.Problemf("the key %q is missing", key)
		}
	}
	return v
}

// Needs reports a key of a mapping that has no effect without another key.
func (v Value) Needs(key, other string) {
	if !v.Get(other).Exists() {
		v.Get(key).Key().Problemf("needs %s", other)
	}
}

// Excludes reports a key of a mapping that contradicts another key.
func (v Value) Excludes(key, other string) {
	if v.Get(other).Exists() {
		v.Get(key).Key().Problemf("is not allowed together with %s", other)
	}
}

// List returns the items of a list of least to most items.
func (v Value) List(least, most int) []Value {
	if !v.is(isList) {
		return nil
	}
	if count := len(v.node.Content); count < least || count > most {
		v.Problemf("must have %d to %d items, and has %d", least, most, count)
	}
	var items []Value
	for _, node := range v.node.Content {
		items = append(items, Value{document: v.document, node: node})
	}
	return items
}

// FreeText returns a string of at most so many characters; least is 0 or 1.
func (v Value) FreeText(least, most int) string {
	if !v.is(isString) {
		return ""
	}
	switch count := utf8.RuneCountInString(v.node.Value); {
	case count < least:
		v.Problemf("must not be empty")
	case count > most:
		v.Problemf("must have at most %d characters, and has %d", most, count)
	default:
		return v.node.Value
	}
	return ""
}

// MaxText is the number of characters that a text may have where no smaller bound is known.
const MaxText = 4096

// Text returns a string of 1 to most characters. It reports a `${`, as nothing evaluates it.
func (v Value) Text(most int) string {
	text := v.FreeText(1, most)
	v.CheckUnevaluated(text)
	return text
}

// CheckUnevaluated reports a `${` in the text of a value.
func (v Value) CheckUnevaluated(text string) {
	if offset := strings.Index(text, "${"); offset >= 0 {
		v.ProblemAtf(offset, "`${` is not evaluated here and would be used as it is written: write the text that is meant")
	}
}

// Match returns a string that matches a pattern. The message says what it must be.
func (v Value) Match(pattern *regexp.Regexp, message string) string {
	if v.is(isString) && !pattern.MatchString(v.node.Value) {
		v.document.refuse(v.node, "%s", message)
	}
	if !v.is(isString) {
		return ""
	}
	return v.node.Value
}

// OneOf returns one of the allowed strings.
func (v Value) OneOf(allowed ...string) string {
	text := v.Text(MaxText)
	if text == "" || slices.Contains(allowed, text) {
		return text
	}
	v.Problemf("must be one of %s", quote(allowed))
	return ""
}

// Bool returns a boolean.
func (v Value) Bool(otherwise bool) bool {
	if !v.is(isBoolean) {
		return otherwise
	}
	return strings.EqualFold(v.node.Value, "true")
}

// Int returns a whole number from least to most. It may be written as 1.0 or 1e3.
func (v Value) Int(least, most, otherwise int) int {
	if !v.is(isNumber) {
		return otherwise
	}
	number, err := strconv.ParseFloat(v.node.Value, 64)
	if err != nil || number != math.Trunc(number) || number < float64(least) || number > float64(most) {
		v.Problemf("must be a whole number from %d to %d", least, most)
		return otherwise
	}
	return int(number)
}

// Duration returns a duration from least to most. The form names these bounds and an example.
func (v Value) Duration(least, most, otherwise time.Duration, form string) time.Duration {
	text := v.Text(MaxText)
	if text == "" {
		return otherwise
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < least || duration > most {
		v.Problemf("must be a duration %s", form)
		return otherwise
	}
	return duration
}

// ProblemAtf reports a problem at an offset, in bytes, into the text of the value. The place
// is exact if the text is on one line and without escapes, near the line's beginning.
// Otherwise it is where the value begins.
func (v Value) ProblemAtf(offset int, format string, args ...any) {
	const longest = 4096 // columns, so that a file on one line takes no quadratic time
	at := v.Place()
	if at.Column <= longest {
		source, text, before := v.document.from(at), []byte(v.node.Value), 0
		if v.node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			source, before = source[1:], 1
		}
		rest, literal := bytes.CutPrefix(source, text)
		if literal && (before == 0 || bytes.IndexAny(rest, `"'`) == 0) {
			at.Column += before + utf8.RuneCount(text[:offset])
		}
	}
	v.document.Problemf(at, format, args...)
}

// is reports whether a value exists and is of a kind. It reports a value of another kind.
func (v Value) is(want kind) bool {
	if v.node == nil || v.document.refused[v.node] {
		return false
	}
	got := kindOf(v.node)
	if got != want {
		v.document.refuse(v.node, "%s", mismatch(want, got))
	}
	return got == want
}

// kind is what a value is, in the words of problems.
type kind string

const (
	isNull    kind = "empty"
	isBoolean kind = "true or false"
	isNumber  kind = "a number"
	isString  kind = "a string"
	isList    kind = "a list"
	isMapping kind = "a mapping"
)

// The scalars without quotes that are not strings in YAML 1.2's core schema.
var (
	nulls    = []string{"", "~", "null", "Null", "NULL"}
	booleans = []string{"true", "True", "TRUE", "false", "False", "FALSE"}
	numbers  = regexp.MustCompile(`^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+|` +
		`[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

func kindOf(node *yaml.Node) kind {
	const plain = yaml.FlowStyle
	switch {
	case node.Kind == yaml.MappingNode:
		return isMapping
	case node.Kind == yaml.SequenceNode:
		return isList
	case node.Style&^plain != 0: // quoted, a block, or !!str
		return isString
	case slices.Contains(nulls, node.Value):
		return isNull
	case slices.Contains(booleans, node.Value):
		return isBoolean
	case strings.IndexByte("+-.0123456789", node.Value[0]) >= 0 && numbers.MatchString(node.Value):
		return isNumber
	}
	return isString
}

// mismatch says of which kind a value must be, and of which it is.
func mismatch(want, got kind) string {
	message := fmt.Sprintf("must be %s, and is %s", want, got)
	if want == isString && (got == isNumber || got == isBoolean) {
		message += ": put it in quotes"
	}
	return message
}

func quote(names []string) string {
	return `"` + strings.Join(names, `", "`) + `"`
}

// Unique holds the texts of which each may be in a file only once, with the line of each.
type Unique map[string]int

// Check reports a value whose text was checked before, unless it is empty. The noun is for the
// message.
func (u Unique) Check(v Value, text, noun string) {
	if text == "" {
		return
	}
	if line, repeated := u[text]; repeated {
		v.Problemf("duplicate %s: it is already in line %d", noun, line)
		return
	}
	u[text] = v.Place().Line
}
