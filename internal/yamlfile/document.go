// Package yamlfile reads YAML files strictly, and reports all problems of a file at once, each with
// its line and column.
//
// A file can contain secrets, so no problem quotes a value. Problems do not quote keys either,
// because a missing space or quote can turn a secret into a key.
//
// A file is one document of YAML 1.2 in UTF-8, with the core schema: the only booleans are true and
// false (also True and TRUE), and a date is a string. Anchors, aliases, merge keys, tags (except
// !!str), keys that are not strings and duplicate keys are problems.
package yamlfile

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// MaxSize is the size of the largest file that is read, in bytes.
const MaxSize = 64 << 20

// Document is a parsed file with its problems and warnings. A Document is not safe for concurrent
// use.
type Document struct {
	file     string
	source   []byte
	lines    [][]byte            // the lines of the file; nil until they are needed
	root     *yaml.Node          // the root of the parsed file; nil if the file could not be parsed
	refused  map[*yaml.Node]bool // nodes with a problem, for which further problems would only be consequences
	problems Problems
	warnings Problems
}

// Parse reads a YAML file of at most MaxSize bytes. The file name is only used in problems, which
// the returned Document contains. A file with a syntax error is not read further: the syntax error
// is the only problem, and the Document has no value.
func Parse(file string, data []byte) *Document {
	source := bytes.ReplaceAll(bytes.TrimPrefix(data, []byte("\uFEFF")), []byte("\r\n"), []byte("\n"))
	d := &Document{file: file, source: source, refused: make(map[*yaml.Node]bool)}
	if i, char := firstForbidden(source); i >= 0 {
		at := Place{1 + bytes.Count(source[:i], []byte("\n")), utf8.RuneCount(source[bytes.LastIndexByte(source[:i], '\n')+1:i]) + 1}
		d.Problemf(at, "the character %U is not allowed: save the file as UTF-8 with LF or CR LF as line ends, or write the character as an escape in double quotes", char)
		return d
	}
	if root := d.load(); root != nil {
		d.check(root)
		d.root = root
	}
	return d
}

// firstForbidden returns the index of the first forbidden character, or of the first byte that is
// not UTF-8, for which char is U+FFFD. The index is -1 if the whole text is allowed. Characters are
// forbidden if editors do not show them, or disagree on whether they end a line.
func firstForbidden(source []byte) (index int, char rune) {
	for i, size := 0, 0; i < len(source); i += size {
		char, size = utf8.DecodeRune(source[i:])
		switch {
		case ' ' <= char && char < 0x7f, char == '\t', char == '\n':
		case char < 0xa0, char == utf8.RuneError && size == 1,
			slices.Contains([]rune{'\u2028', '\u2029', '\uFEFF', '\uFFFE', '\uFFFF'}, char):
			return i, char
		}
	}
	return -1, 0
}

func (d *Document) from(at Place) []byte {
	if d.lines == nil {
		d.lines = bytes.Split(d.source, []byte("\n"))
	}
	if at.Line > len(d.lines) {
		return nil
	}
	rest := d.lines[at.Line-1]
	for column := 1; column < at.Column && len(rest) > 0; column++ {
		_, size := utf8.DecodeRune(rest)
		rest = rest[size:]
	}
	return rest
}

// Root returns the value of the document, which is absent if the file could not be read.
func (d *Document) Root() Value { return Value{document: d, node: d.root} }

// String returns only the name of the file, because the file's content can be secret.
func (d *Document) String() string { return d.file }

// Err returns all problems reported so far as an error of the type Problems, sorted by place and
// without duplicates. Err returns nil if no problem was reported.
func (d *Document) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	return d.problems.sorted()
}

// Count returns how many problems were found so far.
func (d *Document) Count() int { return len(d.problems) }

// Warnings returns the warnings that Warnf reported, sorted by place and without duplicates.
func (d *Document) Warnings() Problems { return d.warnings.sorted() }

// Problemf reports a problem. The message must be one line, and must not quote a value.
func (d *Document) Problemf(at Place, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.file, at, fmt.Sprintf(format, args...)})
}

// Warnf reports a warning about something that is allowed but is probably a mistake.
func (d *Document) Warnf(at Place, format string, args ...any) {
	d.warnings = append(d.warnings, Problem{d.file, at, fmt.Sprintf(format, args...)})
}

// refuse reports a problem with a node and marks the node as unusable.
func (d *Document) refuse(node *yaml.Node, format string, args ...any) {
	if !d.refused[node] {
		d.Problemf(Place{node.Line, node.Column}, format, args...)
	}
	d.refused[node] = true
}

func (d *Document) check(node *yaml.Node) {
	if node.Anchor != "" || node.Kind == yaml.AliasNode {
		d.refuse(node, anchorRefused)
	}
	isText := node.Kind == yaml.ScalarNode && node.Tag == "!!str"
	if node.Style&yaml.TaggedStyle != 0 && !isText || node.Tag == "!" {
		d.refuse(node, tagRefused)
	}
	if node.Kind == yaml.MappingNode {
		d.checkKeys(node)
	}
	for _, inner := range node.Content {
		d.check(inner)
	}
}

// checkKeys reports keys that are not allowed in a mapping, and removes their entries. An alias or
// a merge key hides the real keys of a mapping, so no missing key of that mapping is reported.
func (d *Document) checkKeys(mapping *yaml.Node) {
	first := make(map[string]int, len(mapping.Content)/2) // the line of each key
	kept := mapping.Content[:0]
	for pair := range slices.Chunk(mapping.Content, 2) {
		key := pair[0]
		line, repeated := first[key.Value]
		switch {
		case key.Kind == yaml.AliasNode:
			d.refuse(key, anchorRefused)
			d.refused[mapping] = true
		case key.Value == "<<" && key.Style == 0:
			d.refuse(key, "merge keys (<<) are not allowed: write the entries out")
			d.refused[mapping] = true
		case kindOf(key) != isString:
			d.refuse(key, "a key %s", mismatch(isString, kindOf(key)))
		case repeated:
			d.refuse(key, "duplicate key: it is already in line %d", line)
		default:
			first[key.Value] = key.Line
			kept = append(kept, pair...)
		}
	}
	mapping.Content = kept
}
