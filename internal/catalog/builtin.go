package catalog

import (
	"embed"
	"fmt"
	"path"
	"sync"

	"github.com/authmaterial/broker/internal/strictyaml"
)

//go:embed providers/*.yaml
var definitions embed.FS

// providerSchema is the form of a definition.
//
//go:embed provider.schema.json
var providerSchema []byte

// SchemaID is the name by which other schemas refer to ProviderSchema.
const SchemaID = "https://authmaterial.invalid/schema/provider.json"

// ProviderSchema is the JSON Schema of a definition.
func ProviderSchema() []byte { return providerSchema }

// Builtin returns the catalogue of the embedded definitions. It panics when one of
// them is broken, which a test would have seen.
var Builtin = sync.OnceValue(func() *Catalog {
	catalog, err := loadBuiltin()
	if err != nil {
		panic(fmt.Sprintf("catalog: an embedded definition is broken: %v", err))
	}
	return catalog
})

func loadBuiltin() (*Catalog, error) {
	files, err := definitions.ReadDir("providers")
	if err != nil {
		return nil, err
	}
	schema := strictyaml.MustCompile(SchemaID, map[string][]byte{SchemaID: providerSchema})
	catalog := &Catalog{}
	for _, file := range files {
		name := path.Join("providers", file.Name())
		data, err := definitions.ReadFile(name)
		if err != nil {
			return nil, err
		}
		document := strictyaml.Parse(name, data, schema)
		provider := Define(document.Root())
		if err := document.Err(); err != nil {
			return nil, err
		}
		catalog = catalog.With(provider)
	}
	return catalog, nil
}
