package catalog

import (
	"embed"
	"fmt"
	"strings"
	"sync"

	"github.com/authmaterial/broker/internal/yamlfile"
)

//go:embed providers/*.yaml
var definitions embed.FS

// Builtin returns the catalog of the provider definitions that are embedded in the program. Each is
// read when it is first used, and panics if it has a problem, which a test rules out.
var Builtin = sync.OnceValue(func() *Catalog {
	files, err := definitions.ReadDir("providers")
	if err != nil {
		panic(fmt.Sprintf("catalog: the embedded definitions: %v", err))
	}
	catalog := &Catalog{providers: map[string]func() *Provider{}}
	for _, file := range files {
		id := strings.TrimSuffix(file.Name(), ".yaml")
		catalog.providers[id] = sync.OnceValue(func() *Provider { return readBuiltin(id) })
	}
	return catalog
})

func readBuiltin(id string) *Provider {
	name := id + ".yaml"
	data, err := definitions.ReadFile("providers/" + name)
	document := yamlfile.Parse(name, data)
	provider := Define(document.Root())
	provider.builtin = true
	if err == nil {
		err = document.Err()
	}
	if err == nil && provider.ID != id {
		err = fmt.Errorf("the ID is %q", provider.ID)
	}
	if err != nil {
		panic(fmt.Sprintf("catalog: the embedded definition %s: %v", name, err))
	}
	return provider
}
