// Package strictyaml reads YAML strictly: a document is checked against a JSON
// Schema, every problem is reported at once, and each has its place.
//
// What it reads may hold secrets, so no problem quotes a scalar: it says what is
// allowed instead of what was found. Nor does one quote a key, for where a space or a
// quote is missing a secret becomes one.
//
// It reads one document of YAML 1.2 in UTF-8, with the core schema: only true and
// false (also True and TRUE) are booleans, and a date is a string. Anchors, aliases,
// merge keys, tags other than the core ones, keys that are no strings and keys that
// stand twice are refused.
package strictyaml

import (
	"bytes"
	"fmt"
	"slices"
)

// Bounds of a document. MaxSize is for readers of files, which can refuse a larger one before it is in memory.
const (
	MaxSize  = 64 << 20 // bytes
	maxDepth = 64       // levels of nesting
)

// start is the place of problems that concern the file as a whole.
var start = place{line: 1, column: 1}

// Document is what Parse read. It is not safe for concurrent use.
type Document struct {
	file     string
	source   []byte
	lines    []int // where each line begins in source; made at first use
	near     mark  // where at looked last
	steps    int   // characters that at went over
	root     *node
	problems Problems
	warnings Problems
}

// Parse reads the YAML document in data and checks it against schema, unless that is
// nil. It always returns a Document; what is wrong is collected there. The file is a
// name for problems alone. The Document keeps data.
//
// What is wrong with the bytes, and an error of syntax, ends the reading: the
// document then has that one problem and an absent root.
func Parse(file string, data []byte, schema *Schema) *Document {
	d := &Document{file: file, source: bytes.TrimPrefix(data, []byte(byteOrderMark))}
	d.root = &node{place: start, refused: true}
	if at, sentence := checkText(d.source); sentence != "" {
		d.report(at, sentence)
		return d
	}
	content, ok := d.load()
	if !ok {
		return d
	}
	if isEmpty(content) {
		d.report(start, "the file is empty"+schema.expectation())
		return d
	}
	d.root = d.build(content, 1)
	if schema != nil {
		schema.check(d)
	}
	return d
}

// Root returns the document's value. It is absent when the document could not be
// read.
func (d *Document) Root() Value { return Value{document: d, node: d.root} }

// String returns the name of the file: what is in it can be secret.
func (d *Document) String() string { return d.file }

// Err returns every problem so far as Problems, in the order of their places, or
// nil. What is said twice of one place is in it once.
func (d *Document) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	return sorted(d.problems)
}

// Warnings returns what Warnf reported, like Err. It makes no document wrong.
func (d *Document) Warnings() Problems { return sorted(d.warnings) }

func sorted(problems Problems) Problems {
	problems = slices.Clone(problems)
	slices.SortFunc(problems, compareProblems)
	return slices.Compact(problems)
}

func (d *Document) report(at place, message string) {
	d.problems = append(d.problems, Problem{d.file, at.line, at.column, message})
}

func (d *Document) reportf(at place, format string, args ...any) {
	d.report(at, fmt.Sprintf(format, args...))
}

// refuse reports that a node cannot be used. Nothing else is said of it then.
func (d *Document) refuse(n *node, message string) {
	d.report(n.place, message)
	n.refused = true
}
