package yamlfile

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// load returns the value of the only document: a null value if the source is empty, and nil if a
// problem was reported.
func (d *Document) load() *yaml.Node {
	loader, err := yaml.NewLoader(bytes.NewReader(d.source))
	if err != nil {
		d.explain(err)
		return nil
	}
	first, err := next(loader)
	if err != nil && !errors.Is(err, io.EOF) {
		d.explain(err)
		return nil
	}
	if len(first.Content) == 0 || kindOf(first.Content[0]) == isNull {
		return &yaml.Node{Kind: yaml.ScalarNode, Line: 1, Column: 1}
	}
	switch second, err := next(loader); {
	case err == nil:
		d.Problemf(Place{second.Line, second.Column}, "a second document begins here: a file holds only one")
	case !errors.Is(err, io.EOF):
		d.explain(err)
		return nil
	}
	return first.Content[0]
}

// next reads one document, and turns a panic of the YAML parser into an error.
func next(loader *yaml.Loader) (document *yaml.Node, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the parser panicked")
		}
	}()
	document = new(yaml.Node)
	return document, loader.Load(document)
}

// explain reports an error of the YAML parser as a problem that quotes nothing of the file.
func (d *Document) explain(err error) {
	var failure *yaml.LoadError
	if !errors.As(err, &failure) || failure.Mark.Line == 0 {
		d.Problemf(Place{1, 1}, "is not valid YAML")
		return
	}
	at := Place{failure.Mark.Line, failure.Mark.Column}
	text := failure.ContextMsg + ": " + failure.Message
	if bytes.HasPrefix(d.from(at), []byte("\t")) {
		text += " (a tab character)"
	}
	for _, known := range syntaxErrors {
		if !strings.Contains(text, known.part) {
			continue
		}
		if known.atBegin && failure.ContextMark.Line > 0 {
			at = Place{failure.ContextMark.Line, failure.ContextMark.Column}
		}
		d.Problemf(at, "%s", strings.ReplaceAll(known.message, "LINE", strconv.Itoa(failure.ContextMark.Line)))
		return
	}
	d.Problemf(at, "is not valid YAML")
}

const (
	anchorRefused    = "anchors and aliases are not allowed: write the value out, or put a text that begins with & or * in quotes"
	tagRefused       = "a tag is not allowed: put a text that begins with ! in quotes"
	directiveRefused = "a directive (a line that begins with %) is not allowed: remove it"
)

// syntaxErrors translate errors of the YAML parser into messages for the author of a file. The
// first entry whose `part` occurs in the parser's message is used. The problem is placed where the
// parser stopped or, with atBegin, where the faulty construct begins. The word LINE in a message
// stands for the number of the line where the construct begins.
var syntaxErrors = []struct {
	part, message string
	atBegin       bool
}{
	{"a tab character", "a tab is not allowed here: indent with spaces", false},
	{"directive", directiveRefused, true},
	{"YAML document", directiveRefused, true},
	{"tag", tagRefused, true},
	{"anchor", anchorRefused, true},
	{"an alias", anchorRefused, true},
	{"block scalar", "after | or > only a digit, + and - are allowed on the line", true},
	{"cannot start any token", "a value cannot begin with this character: put it in quotes", false},
	{"mapping values are not allowed", "a colon is not allowed here: check the indentation, or put the text in quotes", false},
	{"block sequence entries are not allowed", "a list item is not allowed here: begin a line with it, or put the text in quotes", false},
	{"mapping keys are not allowed", "a key is not allowed here: check the indentation", false},
	{"could not find expected ':'", "a key needs a colon and a space after it", true},
	{"expected key", "a key is expected here: check the indentation and the quotes", false},
	{"expected '-' indicator", "a list item is expected here: check the indentation", false},
	{"expected node content", "a value is expected here", false},
	{"expected ',' or ']'", "a comma or ] is expected here: the [ in line LINE is not closed", false},
	{"expected ',' or '}'", "a comma or } is expected here: the { in line LINE is not closed", false},
	{"expected <document start>", "does not belong to the lines above: check the indentation", false},
	{"document-end marker", "nothing is allowed after the end of the document", false},
	{"a comment without preceding whitespace", "a comment needs a space before its #", false},
	{"unexpected end of stream", "the quotes that begin here are never closed", true},
	{"unexpected document indicator", "the quotes that begin here are not closed before the document ends", true},
	{"unknown escape", `there is no such escape: write \\ for a backslash, or use single quotes`, false},
	{"hexadecimal number", "the escape needs hexadecimal digits", false},
	{"Unicode character escape", "the escape is not a Unicode character", false},
	{"exceeded max depth", "is nested too deeply", false},
}
