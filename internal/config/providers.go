package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/regularfile"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const (
	maxProviders    = 10_000
	maxProviderFile = 1 << 20 // bytes
)

// readProviders returns the built-in providers and those that the configuration defines, and the IDs
// of the built-in providers that the configuration redefines.
func (p *parser) readProviders(root yamlfile.Value) (all *catalog.Catalog, replaced []string) {
	if root.Get("auth_methods").Exists() {
		root.Problemf("expected a configuration file, and this is the definition of a provider: make it an item of the list 'providers', or name its folder in 'providers_directory'")
	}
	places := map[string]string{} // where each ID is defined
	var defined []*catalog.Provider
	p.faulty = map[*catalog.Provider]bool{}
	add := func(document *yamlfile.Document, item yamlfile.Value) {
		file, before := document.String(), document.Count()
		provider := catalog.Define(item)
		p.faulty[provider] = document.Count() > before
		if provider.ID == "" {
			return // a problem was reported
		}
		id := item.Get("id")
		if place, repeated := places[provider.ID]; repeated {
			id.Problemf("duplicate ID: it is already in %s", strings.TrimPrefix(place, file+", "))
			return
		}
		places[provider.ID] = fmt.Sprintf("%s, line %d", file, id.Place().Line)
		if catalog.Builtin().Provider(provider.ID) != nil {
			replaced = append(replaced, provider.ID)
		}
		defined = append(defined, provider)
	}
	for _, item := range root.Get("providers").List(0, maxProviders) {
		add(p.document, item)
	}
	for _, document := range p.readDirectory(root.Get("providers_directory")) {
		add(document, document.Root())
	}
	return catalog.Builtin().With(defined...), replaced
}

// readDirectory reads the files of a directory whose names end with .yaml or .yml, in alphabetical
// order. Each is the definition of one provider.
func (p *parser) readDirectory(value yamlfile.Value) []*yamlfile.Document {
	given := value.Text(yamlfile.MaxText)
	if given == "" {
		return nil
	}
	folder := p.resolvePath(given)
	if p.options.Reading != nil {
		p.options.Reading(folder) // a new file changes the folder
	}
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		value.Problemf("the folder does not exist%s", p.relativeTo(given))
		return nil
	case err != nil:
		value.Problemf("is not a folder that the broker can read%s", p.relativeTo(given))
		return nil
	case len(entries) > maxProviders:
		value.Problemf("the folder has more than %d files%s", maxProviders, p.relativeTo(given))
		return nil
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		isDefinition := slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) && !entry.IsDir()
		if !isDefinition || strings.HasPrefix(entry.Name(), ".") {
			continue // such as the lock file of an editor
		}
		if p.options.Reading != nil {
			p.options.Reading(path)
		}
		data, err := regularfile.Read(path, maxProviderFile)
		if err != nil {
			value.Problemf("the file %s %s", filepath.Base(path), err)
			continue
		}
		if everybodyWrites(path) {
			value.Warnf("the file %s %s", filepath.Base(path), writable)
		}
		p.others = append(p.others, yamlfile.Parse(path, data))
	}
	return p.others
}

// err returns the problems of all files, or nil.
func (p *parser) err() error {
	var all yamlfile.Problems
	for _, document := range append([]*yamlfile.Document{p.document}, p.others...) {
		var problems yamlfile.Problems
		if errors.As(document.Err(), &problems) {
			all = append(all, problems...)
		}
	}
	if all == nil {
		return nil
	}
	return all
}
