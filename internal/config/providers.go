package config

import (
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// providersSchema is the form of a file of which only the providers matter.
const (
	providersSchemaID = "https://authmaterial.invalid/schema/providers.json"
	providersSchema   = `{"type": "object", "properties": {"providers": {"type": "array", "items": {"$ref": "` + catalog.SchemaID + `"}}}}`
)

// LoadProviders returns the built-in providers with those of the file at path. It looks
// at nothing else there: the values of credentials may be missing, and are what an
// operator fills in next. The error is as Load's.
func LoadProviders(path string) (*catalog.Catalog, error) {
	data, err := readConfiguration(path)
	if err != nil {
		return nil, err
	}
	document := strictyaml.Parse(path, data, strictyaml.MustCompile(providersSchemaID, map[string][]byte{
		providersSchemaID: []byte(providersSchema),
		catalog.SchemaID:  catalog.ProviderSchema(),
	}))
	all, _ := parseProviders(document.Root().Key("providers"))
	if err := document.Err(); err != nil {
		return nil, err
	}
	return all, nil
}
