package strictyaml

import (
	"errors"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/message"
)

// namesVocabulary checks propertyNames once more: of the library's own errors about
// names the location cannot be trusted, because the slice that holds it is shared.
var namesVocabulary = &jsonschema.Vocabulary{
	URL: "urn:strictyaml:names",
	Compile: func(ctx *jsonschema.CompilerContext, schema map[string]any) (jsonschema.SchemaExt, error) {
		if _, ok := schema["propertyNames"]; !ok {
			return nil, nil
		}
		return names{ctx.Enqueue([]string{"propertyNames"})}, nil
	},
}

// names checks every key of an object.
type names struct{ schema *jsonschema.Schema }

// Validate implements jsonschema.SchemaExt.
func (n names) Validate(ctx *jsonschema.ValidatorContext, value any) {
	object, _ := value.(map[string]any)
	for name := range object {
		var failure *jsonschema.ValidationError
		if errors.As(n.schema.Validate(name), &failure) {
			ctx.AddErrors(failure.Causes, &badName{name})
		}
	}
}

// badName is the error that a key is not allowed. Its causes say why.
type badName struct{ name string }

// KeywordPath implements jsonschema.ErrorKind.
func (*badName) KeywordPath() []string { return []string{"propertyNames"} }

// LocalizedString implements jsonschema.ErrorKind.
func (*badName) LocalizedString(*message.Printer) string { return "" }
