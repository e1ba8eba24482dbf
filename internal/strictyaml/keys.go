package strictyaml

import "github.com/santhosh-tekuri/jsonschema/v6"

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
			t.document.reportf(entry.Key.node.place, "this key %s", words)
		default:
			t.document.report(entry.Key.node.place, unknownSentence(name, known))
		}
	}
}

// unknownSentence says that a key is not known, and which was meant or which are. The
// key is not quoted: where a space or a quote is missing, what was to be a value is one.
func unknownSentence(name string, known []string) string {
	if meant, ok := Nearest(name, known); ok {
		return "unknown key; did you mean " + quote(meant) + "?"
	}
	if len(known) > 0 {
		return "unknown key; known here: " + quoteAll(known)
	}
	return "unknown key"
}
