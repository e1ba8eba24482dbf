package strictyaml

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Sentences that are said in more than one place.
const (
	anchorRefused = "anchors and aliases are not allowed: write the value out, or put a text that begins with & or * in quotes"
	tagRefused    = "a tag is not allowed: put a text that begins with ! in quotes"
	mergeRefused  = "merge keys (<<) are not allowed: write the entries out"
	tooDeep       = "is nested too deeply: 64 levels are allowed"
	notYAML       = "is no valid YAML"
)

// load returns the content of the only document in the source, nil when there is
// none. It returns false when it reported that the source cannot be read.
func (d *Document) load() (content *yaml.Node, ok bool) {
	loader, err := yaml.NewLoader(bytes.NewReader(d.source))
	if err != nil {
		d.report(start, notYAML)
		return nil, false
	}
	first, err := next(loader)
	if err != nil {
		return nil, d.explain(err)
	}
	second, err := next(loader)
	if err == nil {
		d.report(place{second.Line, second.Column}, "a second document begins here: one is allowed in a file")
	} else if !d.explain(err) {
		return nil, false
	}
	if len(first.Content) == 1 {
		content = first.Content[0]
	}
	return content, true
}

// next reads one document. A parser that panics has met something that is no YAML.
func next(loader *yaml.Loader) (document *yaml.Node, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New(notYAML)
		}
	}()
	document = new(yaml.Node)
	return document, loader.Load(document)
}

// explain reports an error of the parser. It returns true when that is only the end
// of the source.
func (d *Document) explain(err error) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	var failure *yaml.LoadError
	if !errors.As(err, &failure) || failure.Mark.Line == 0 {
		d.report(start, notYAML)
		return false
	}
	at := place{failure.Mark.Line, failure.Mark.Column}
	begin := place{failure.ContextMark.Line, failure.ContextMark.Column}
	switch cause := d.cause(failure.ContextMsg, failure.Message, at); {
	case cause.unclosed != "":
		d.reportf(at, "%s: the %s in line %d is not closed", cause.sentence, cause.unclosed, begin.line)
	case cause.atBegin && begin.line > 0:
		d.report(begin, cause.sentence)
	default:
		d.report(at, cause.sentence)
	}
	return false
}

// cause finds what an error of the parser means.
func (d *Document) cause(context, message string, at place) cause {
	isTab := bytes.HasPrefix(d.at(at), []byte("\t"))
	switch {
	case strings.Contains(message, "a tab character"), isTab && message == cannotStart:
		return cause{sentence: "a tab cannot stand here: indent with spaces"}
	case strings.HasPrefix(message, "unknown anchor"):
		return cause{sentence: anchorRefused}
	case strings.HasPrefix(message, "exceeded max depth"):
		return cause{sentence: tooDeep}
	}
	if known, ok := byContext[context]; ok {
		return known
	}
	if known, ok := byMessage[message]; ok {
		return known
	}
	return cause{sentence: notYAML}
}
