package yamlfile

import (
	"bytes"
	"iter"
	"slices"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Value is a value in a document. The methods of Value check the value and return it. If the value
// breaks a rule, a method reports a problem and returns a default or a zero value. The zero Value
// is an absent value, which causes no problems.
type Value struct {
	document *Document
	node     *yaml.Node
	key      *yaml.Node // the key of the value's entry in a mapping; nil outside mappings
}

// Exists reports whether the value is present in the file, even as a null value.
func (v Value) Exists() bool { return v.node != nil }

// Empty reports whether the value is null in YAML.
func (v Value) Empty() bool { return v.node != nil && kindOf(v.node) == isNull }

// IsList reports whether the value is a list.
func (v Value) IsList() bool { return v.node != nil && kindOf(v.node) == isList }

// IsMapping reports whether the value is a mapping.
func (v Value) IsMapping() bool { return v.node != nil && kindOf(v.node) == isMapping }

// IsString reports whether the value is a string.
func (v Value) IsString() bool { return v.node != nil && kindOf(v.node) == isString }

// Place returns the place where the value begins.
func (v Value) Place() Place {
	if v.node == nil {
		return Place{}
	}
	return Place{v.node.Line, v.node.Column}
}

// Problemf reports a problem with the value, unless an earlier problem made the value unusable and
// the new problem would only be a consequence.
func (v Value) Problemf(format string, args ...any) {
	if v.node != nil && !v.document.refused[v.node] {
		v.document.Problemf(v.Place(), format, args...)
	}
}

// Warnf reports a warning about a value that is allowed but is probably a mistake.
func (v Value) Warnf(format string, args ...any) {
	if v.node != nil && !v.document.refused[v.node] {
		v.document.Warnf(v.Place(), format, args...)
	}
}

// Key returns the key of a mapping's entry as a value, so that problems can be reported with it.
func (v Value) Key() Value { return Value{document: v.document, node: v.key} }

// Name returns the text of the key of a mapping's entry.
func (v Value) Name() string { return v.key.Value }

// Get returns the value of a key in a mapping.
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

// Entries returns the values of a mapping in the file's order, whatever the keys are, or false if
// the value is not a mapping.
func (v Value) Entries() ([]Value, bool) {
	return slices.Collect(v.entries()), v.is(isMapping)
}

// Only is the method for a mapping that must have exactly one entry, which it returns. For any
// other value, it reports a problem with the given message.
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

// Mapping reports each key of a mapping that is not among the known keys, and returns the mapping.
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

// Requires reports each required key that the mapping lacks, and returns the mapping.
func (v Value) Requires(keys ...string) Value {
	isMapping := v.is(isMapping)
	for _, key := range keys {
		if isMapping && !v.Get(key).Exists() {
			v.Problemf("the key %q is missing", key)
		}
	}
	return v
}

// Needs reports a problem if a mapping has the key `key`, but not the key `other`.
func (v Value) Needs(key, other string) {
	if !v.Get(other).Exists() {
		v.Get(key).Key().Problemf("needs %s", other)
	}
}

// Excludes reports a key that is not allowed together with the other key.
func (v Value) Excludes(key, other string) {
	if v.Get(other).Exists() {
		v.Get(key).Key().Problemf("is not allowed together with %s", other)
	}
}

// List returns the items of a list, which must have at least `least` and at most `most` items.
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

// ProblemAtf reports a problem at a byte offset in the text of the value. The reported place is
// exact if the text is on one line, near the line's beginning, and contains no escapes. For other
// texts, the reported place is the beginning of the value.
func (v Value) ProblemAtf(offset int, format string, args ...any) {
	const longest = 4096 // highest column for an exact place; this limit avoids quadratic time for a file that has only one line
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

// Unique records the line of each text that may occur only once in a file.
type Unique map[string]int

// Check records the text of a value, and reports a text that was recorded before. Check ignores an
// empty text. The argument `noun` is what the error message calls the text, such as "ID".
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
