package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
)

const acme = `{id: acme, display_name: Acme, documentation_url: "https://acme.test", allowed_hosts: [acme.test], auth_methods: [
  {id: api_key, display_name: Key, fields: [{id: api_key, display_name: Key, required: true, secret: true, description: d}],
   headers: [{name: x-key, value: "${api_key}"}]}]}`

func loadProviders(t *testing.T, text string) (*catalog.Catalog, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "broker.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.LoadProviders(path)
}

func TestLoadProviders(t *testing.T) {
	found, err := loadProviders(t, "providers: ["+acme+"]\ncredentials: [{id: no id, values: {api_key: {env: NOWHERE}}}]\nno_such_key: 1\n")
	if err != nil {
		t.Fatal(err)
	}
	if found.Provider("acme") == nil || len(found.Providers()) != len(catalog.Builtin().Providers())+1 {
		t.Error("the catalog does not consist of the built-in providers and the provider of the file")
	}
}

func TestLoadProvidersWithProblems(t *testing.T) {
	for text, want := range map[string]string{
		"providers: [" + strings.Replace(acme, "${api_key}", "${key}", 1) + "]\n": `broker.yaml:3:38: unknown field or function; `,
		"providers:\n  - " + acme + "\n  - " + acme + "\n":                        `duplicate ID: it is already in line`,
		"providers: {}\n": "must be a list",
	} {
		if _, err := loadProviders(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
	if _, err := config.LoadProviders("nowhere.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error is %v, want that the file does not exist", err)
	}
}
