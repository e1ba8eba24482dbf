package strictyaml

import (
	"encoding/json"
	"fmt"
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
	case *kind.Schema, *kind.Group, *kind.Reference:
		for _, cause := range failure.Causes {
			t.report(cause)
		}
	case *kind.PropertyNames: // badName says it
	case *badName:
		t.reportName(failure, at, found.name)
	case *kind.Required:
		for _, name := range found.Missing {
			t.say(failure, at, fmt.Sprintf("the key %s is missing", quote(name)))
		}
	case *kind.AdditionalProperties:
		t.reportUnknown(failure, at, found.Properties)
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
		sentence = "this key " + sentence
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
