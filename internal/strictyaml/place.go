package strictyaml

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// place is a character of the file, counted from 1.
type place struct{ line, column int }

// within returns the place of an offset in bytes into the text of n. It is exact
// when the text stands in the file as it is, else it is where n begins.
func (d *Document) within(n *node, offset int) place {
	text, _ := n.scalar.(string)
	before, ok := d.literal(n, text)
	if !ok {
		return n.place
	}
	offset = min(max(offset, 0), len(text))
	return place{n.line, n.column + before + utf8.RuneCountInString(text[:offset])}
}

// literal reports whether text stands at n as it is, on one line, and how many
// characters of n are before it.
func (d *Document) literal(n *node, text string) (before int, ok bool) {
	source := d.at(n.place)
	if len(source) == 0 || strings.Contains(text, "\n") {
		return 0, false
	}
	if quote := source[0]; quote == '"' || quote == '\'' {
		rest, found := bytes.CutPrefix(source[1:], []byte(text))
		return 1, found && len(rest) > 0 && rest[0] == quote
	}
	return 0, bytes.HasPrefix(source, []byte(text))
}

// mark is a place and where it is in the source.
type mark struct {
	place
	offset int
}

// at returns the source from a place on. Places that ascend along one line cost no
// more than that line.
func (d *Document) at(p place) []byte {
	if d.lines == nil {
		d.lines = lineStarts(d.source)
	}
	if p.line > len(d.lines) {
		return nil
	}
	near := d.near
	if near.line != p.line || near.column > p.column {
		near = mark{place{p.line, 1}, d.lines[p.line-1]}
	}
	for near.column < p.column && near.offset < len(d.source) {
		_, size := utf8.DecodeRune(d.source[near.offset:])
		near.column, near.offset = near.column+1, near.offset+size
		d.steps++
	}
	d.near = near
	return d.source[near.offset:]
}

func lineStarts(source []byte) []int {
	starts := []int{0}
	for i, c := range source {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}
