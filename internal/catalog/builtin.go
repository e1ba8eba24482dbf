package catalog

import (
	"embed"
	"fmt"
	"sync"

	"github.com/authmaterial/broker/internal/yamlfile"
)

//go:embed providers/*.yaml
var definitions embed.FS

// Builtin returns the catalog of the provider definitions that are embedded in the program. Builtin
// panics if a definition has a problem, which a test rules out.
var Builtin = sync.OnceValue(func() *Catalog {
	catalog := &Catalog{}
	files, err := definitions.ReadDir("providers")
	for _, file := range files {
		data, readErr := definitions.ReadFile("providers/" + file.Name())
		document := yamlfile.Parse(file.Name(), data)
		provider := Define(document.Root())
		provider.builtin = true
		catalog = catalog.With(provider)
		for _, err := range []error{err, readErr, document.Err()} {
			if err != nil {
				panic(fmt.Sprintf("catalog: an embedded definition: %v", err))
			}
		}
	}
	return catalog
})
