package strictyaml

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// translation says in the package's words, and at places of the document, what the
// library finds. The library's own sentences quote values.
type translation struct {
	schema   *Schema
	document *Document
	mistyped []*node
	// key is set while the errors are those of a key, not of a value.
	key *Entry
}

// report reports an error and its causes.
func (t *translation) report(failure *jsonschema.ValidationError) {
	at := t.find(failure.InstanceLocation)
	switch found := failure.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.AllOf, *kind.Reference:
		for _, cause := range failure.Causes {
			t.report(cause)
		}
	case *kind.PropertyNames: // badName says it
	case *badName:
		t.reportName(failure, at, found.name)
	case *kind.AnyOf, *kind.OneOf:
		t.reportForms(failure, at)
	case *kind.Required:
		for _, name := range found.Missing {
			t.say(failure, at, fmt.Sprintf("the key %s is missing", quote(name)))
		}
	case *kind.DependentRequired:
		for _, name := range found.Missing {
			t.say(failure, at, fmt.Sprintf("the key %s is missing: %s needs it", quote(name), quote(found.Prop)))
		}
	case *kind.AdditionalProperties:
		t.reportUnknown(failure, at, found.Properties)
	case *kind.FalseSchema:
		t.reportForbidden(failure, at)
	case *kind.UniqueItems:
		t.reportRepeated(failure, at)
	case *kind.Type:
		t.mistyped = append(t.mistyped, at)
		t.say(failure, at, typeSentence(found.Want, at))
	default:
		t.say(failure, at, sentence(found, at))
	}
}

// say reports a sentence at a node, or the schema's own words for it.
func (t *translation) say(failure *jsonschema.ValidationError, at *node, sentence string) {
	if at.refused {
		return
	}
	if words := t.words(failure); words != "" {
		sentence = words
	}
	if t.key != nil {
		sentence = "key " + quote(t.key.Name) + " " + sentence
	}
	t.document.report(at.place, sentence)
}

// words returns the schema's own words for an error, or the empty string.
func (t *translation) words(failure *jsonschema.ValidationError) string {
	keyword := ""
	if path := failure.ErrorKind.KeywordPath(); len(path) > 0 {
		keyword = path[0]
	}
	return t.schema.words(failure.SchemaURL, keyword)
}

// find returns the node at a location, or the last on the way.
func (t *translation) find(location []string) *node {
	if t.key != nil {
		return t.key.Key.node
	}
	n := t.document.root
	for _, step := range location {
		entry, ok := n.find(step)
		i, err := strconv.Atoi(step)
		switch {
		case n.shape == mapping && ok:
			n = entry.Value.node
		case n.shape == sequence && err == nil && i < len(n.items):
			n = n.items[i].node
		default:
			return n
		}
	}
	return n
}

// reportName reports what is wrong with a key.
func (t *translation) reportName(failure *jsonschema.ValidationError, at *node, name string) {
	entry, ok := at.find(name)
	if !ok {
		return
	}
	inner := &translation{schema: t.schema, document: t.document, key: &entry}
	for _, cause := range failure.Causes {
		inner.report(cause)
	}
}

// reportUnknown reports keys that the schema does not name.
func (t *translation) reportUnknown(failure *jsonschema.ValidationError, at *node, unknown []string) {
	known := knownKeys(t.schema.lookup(failure.SchemaURL))
	words := t.words(failure)
	for _, name := range unknown {
		entry, ok := at.find(name)
		switch {
		case !ok:
		case words != "":
			t.document.reportf(entry.Key.node.place, "key %s %s", quote(name), words)
		default:
			t.document.report(entry.Key.node.place, unknownSentence(name, known))
		}
	}
}

// reportForbidden reports what a schema excludes altogether: a key, or an item.
func (t *translation) reportForbidden(failure *jsonschema.ValidationError, at *node) {
	path := failure.InstanceLocation
	if len(path) == 0 {
		t.say(failure, at, notAllowed)
		return
	}
	name := path[len(path)-1]
	if entry, ok := t.find(path[:len(path)-1]).find(name); ok {
		t.document.report(entry.Key.node.place, unknownSentence(name, nil))
		return
	}
	t.say(failure, at, notAllowed)
}

// reportRepeated reports every item that is equal to one before.
func (t *translation) reportRepeated(failure *jsonschema.ValidationError, at *node) {
	first := make(map[string]*node)
	for _, item := range at.items {
		encoded, err := json.Marshal(item.node.plain())
		if err != nil || item.node.refused {
			continue
		}
		if before, ok := first[string(encoded)]; ok {
			t.say(failure, item.node, fmt.Sprintf("repeats the item in line %d", before.line))
			continue
		}
		first[string(encoded)] = item.node
	}
}

// reportForms reports a value that fits none of several forms, or too many. When it
// has the type of one form alone, what that form lacks is reported.
func (t *translation) reportForms(failure *jsonschema.ValidationError, at *node) {
	var want []string
	var near []*jsonschema.ValidationError
	for _, form := range failure.Causes {
		if mismatch, ok := mistyped(form, len(failure.InstanceLocation)); ok {
			want = append(want, mismatch.Want...)
		} else {
			near = append(near, form)
		}
	}
	switch {
	case t.words(failure) != "" || len(failure.Causes) == 0:
		t.say(failure, at, "fits more than one of the forms that are allowed here")
	case len(near) == 0:
		t.mistyped = append(t.mistyped, at)
		t.say(failure, at, typeSentence(slices.Compact(slices.Sorted(slices.Values(want))), at))
	case len(near) == 1:
		t.report(near[0])
	default:
		t.say(failure, at, "fits none of the forms that are allowed here")
	}
}

// mistyped says whether the error is the type of the value at that depth.
func mistyped(failure *jsonschema.ValidationError, depth int) (*kind.Type, bool) {
	if _, ok := failure.ErrorKind.(*kind.Reference); ok && len(failure.Causes) == 1 {
		return mistyped(failure.Causes[0], depth)
	}
	mismatch, ok := failure.ErrorKind.(*kind.Type)
	return mismatch, ok && len(failure.InstanceLocation) == depth
}
