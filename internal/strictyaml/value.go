package strictyaml

import (
	"fmt"
	"math"
)

// Value is one node of a document and remembers where it stands. Its zero value is
// an absent node: every method works on it.
//
// An absent value stands where the value stands that it was looked for in. It is
// like an empty one: it has no text, no items and no entries.
//
// A value that was refused takes no more problems, as what would be said of it only
// follows from that: an alias, a value of the wrong type, and what was looked for in
// them. The document has a problem already.
type Value struct {
	document *Document
	node     *node
}

// Entry is one entry of a mapping.
type Entry struct {
	Name string
	// Key is the key itself, for problems about it.
	Key   Value
	Value Value
}

// Exists reports whether there is such a node. A node that holds null exists.
func (v Value) Exists() bool { return v.node != nil && v.node.shape != absent }

// Key returns the value of a mapping's entry. It is absent when there is no such
// entry, and when v is no mapping.
func (v Value) Key(name string) Value { return v.entry(name).Value }

// KeyNode returns the key of a mapping's entry itself, for problems about it. It is
// absent when Key is.
func (v Value) KeyNode(name string) Value { return v.entry(name).Key }

func (v Value) entry(name string) Entry {
	if v.node == nil {
		return Entry{}
	}
	if entry, ok := v.node.find(name); ok {
		return entry
	}
	none := Value{v.document, &node{place: v.node.place, refused: v.node.refused}}
	return Entry{Key: none, Value: none}
}

// Items returns the items of a sequence. The slice is the document's own.
func (v Value) Items() []Value {
	if v.node == nil {
		return nil
	}
	return v.node.items
}

// Entries returns the entries of a mapping in order, without those that were
// refused. The slice is the document's own.
func (v Value) Entries() []Entry {
	if v.node == nil {
		return nil
	}
	return v.node.entries
}

// Text returns the string of a scalar that is a string, else the empty string.
func (v Value) Text() string {
	text, _ := v.scalar().(string)
	return text
}

// Bool reports whether v is the boolean true.
func (v Value) Bool() bool {
	truth, _ := v.scalar().(bool)
	return truth
}

// Int returns a whole number, 1.0 and 1e3 too. It returns false when v is none, or
// none that an int holds.
func (v Value) Int() (int, bool) {
	switch number := v.scalar().(type) {
	case int64:
		return int(number), int64(int(number)) == number
	case float64:
		const exact = 1 << 53
		if number == math.Trunc(number) && math.Abs(number) <= exact {
			return int(number), true
		}
	}
	return 0, false
}

// String returns FILE:LINE:COLUMN, never what stands there. For that there is Text.
func (v Value) String() string {
	if v.node == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", v.document.file, v.node.line, v.node.column)
}

func (v Value) scalar() any {
	if v.node == nil {
		return nil
	}
	return v.node.scalar
}

// Problemf reports a problem at v. The message is one line and must not quote a
// scalar that can be a secret. On the zero Value, which has no document, it does
// nothing.
func (v Value) Problemf(format string, args ...any) {
	if v.node != nil && !v.node.refused {
		v.document.reportf(v.node.place, format, args...)
	}
}

// Warnf is Problemf for what is not wrong, and cannot have been meant.
func (v Value) Warnf(format string, args ...any) {
	if v.node != nil && !v.node.refused {
		at := v.node.place
		v.document.warnings = append(v.document.warnings, Problem{v.document.file, at.line, at.column, fmt.Sprintf(format, args...)})
	}
}

// ProblemAtf reports a problem at an offset in bytes into the text of v. The place
// is exact when the text stands in the file as it is, on one line, in quotes or
// without; otherwise it is where the scalar begins.
func (v Value) ProblemAtf(offset int, format string, args ...any) {
	if v.node != nil && !v.node.refused {
		v.document.report(v.document.within(v.node, offset), fmt.Sprintf(format, args...))
	}
}
