package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schema is a compiled JSON Schema. It is safe for concurrent use.
//
// Beside the keywords of the standard a schema may hold errorMessage, the words to
// use in place of the package's own when its keywords do not hold. Words follow the
// form "must be …" and are for the author of the document. errorMessage is a string,
// which stands for all keywords of that same schema but type, required and
// additionalProperties; or it is an object from keywords to words, which stands for any.
//
// The package has words for the keywords that the schemas here use. What another one does
// not allow "is not allowed here": give such a keyword its words first. Formats are not
// checked.
type Schema struct {
	compiled  *jsonschema.Schema
	resources map[string]any // by URL, as JSON
	main      string
}

// MustCompile compiles embedded schemas. The resources are JSON texts by their URLs,
// which are absolute and by which they refer to each other; main is the one to use.
// It panics on a broken schema, and on one that refers to what is no resource.
func MustCompile(main string, resources map[string][]byte) *Schema {
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(jsonschema.SchemeURLLoader{}) // which loads nothing
	compiler.RegisterVocabulary(namesVocabulary)
	compiler.AssertVocabs()
	schema := &Schema{resources: make(map[string]any), main: main}
	for name, data := range resources {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if location, urlErr := url.Parse(name); err == nil && (urlErr != nil || !location.IsAbs()) {
			err = errors.New("its name is no absolute URL")
		}
		if err == nil {
			err = compiler.AddResource(name, document)
		}
		if err != nil {
			panic(fmt.Sprintf("strictyaml: schema %q: %v", name, err))
		}
		schema.resources[name] = document
	}
	schema.compiled = compiler.MustCompile(main)
	return schema
}

// check reports what the schema does not allow.
func (s *Schema) check(d *Document) {
	var failure *jsonschema.ValidationError
	if errors.As(s.compiled.Validate(d.root.plain()), &failure) {
		translation := &translation{schema: s, document: d}
		translation.report(failure)
		for _, n := range translation.mistyped {
			n.refused = true
		}
	}
}

// expectation says what an empty file lacks. A nil Schema expects nothing.
func (s *Schema) expectation() string {
	if s == nil {
		return ""
	}
	main := s.lookup(s.main)
	var keys []string
	required, _ := main["required"].([]any)
	for _, key := range required {
		keys = append(keys, fmt.Sprint(key))
	}
	if keys == nil {
		keys = knownKeys(main)
	}
	if len(keys) == 0 {
		return ""
	}
	return ": expected a mapping with " + quoteAll(keys)
}
