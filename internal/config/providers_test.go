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

func TestProvidersDirectory(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(folder, "providers", "folder.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("providers/acme.yml", acme)
	write("providers/README.md", "not a definition")
	write("providers/pendo.yaml", strings.Replace(acme, "id: acme", "id: pendo", 1))
	write("broker.yaml", "providers_directory: providers\ncredentials: [{id: c, provider: acme, auth_method: api_key, values: {api_key: {value: k}}}]\n")
	var read []string
	loaded, err := config.Load(filepath.Join(folder, "broker.yaml"), config.Options{Reading: func(path string) {
		read = append(read, strings.TrimPrefix(path, folder+"/"))
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(loaded.ReplacedProviders, " "); got != "pendo" || loaded.Credentials.Get("c").Provider.ID != "acme" {
		t.Errorf("the built-in providers %q were replaced", got)
	}
	if got := strings.Join(read, " "); got != "broker.yaml providers providers/acme.yml providers/pendo.yaml" {
		t.Errorf("the files %s were read", got)
	}
	write("providers/other.yaml", acme)
	write("providers/wrong.yaml", strings.Replace(strings.Replace(acme, "id: acme", "id: wrong", 1), "${api_key}", "${key}", 1))
	_, err = config.Load(filepath.Join(folder, "broker.yaml"), config.Options{})
	for _, want := range []string{
		folder + "/providers/other.yaml:1:6: duplicate ID: it is already in " + folder + "/providers/acme.yml, line 1",
		folder + "/providers/wrong.yaml:3:38: unknown field or function; ",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
	for given, want := range map[string]string{
		"nowhere":     "the folder does not exist; a relative path is relative to ",
		"broker.yaml": "is not a folder that the broker can read; a relative path is relative to ",
	} {
		write("broker.yaml", "providers_directory: "+given+"\n")
		if _, err = config.Load(filepath.Join(folder, "broker.yaml"), config.Options{}); err == nil || !strings.Contains(err.Error(), "broker.yaml:1:22: "+want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}

// TestKindsOfFiles checks the errors if the definition of a provider is in place of a configuration
// file, or the other way round.
func TestKindsOfFiles(t *testing.T) {
	const wanted = "broker.yaml:1:1: expected a configuration file, and this is the definition of a provider: "
	folder := t.TempDir()
	path := filepath.Join(folder, "broker.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(acme)
	_, loadErr := config.Load(path, config.Options{})
	_, providersErr := config.LoadProviders(path)
	_, credentialsErr := config.LoadCredentials(path)
	for _, err := range []error{loadErr, providersErr, credentialsErr} {
		if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(folder, wanted)) {
			t.Errorf("the error is %v, want %s", err, wanted)
		}
	}
	write("providers_directory: .\n")
	const want = "broker.yaml:1:1: expected the definition of one provider, and this is a configuration file: "
	if _, err := config.Load(path, config.Options{}); err == nil || !strings.HasPrefix(err.Error(), filepath.Join(folder, want)) {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// TestFileOfAKey checks that an error about the content of a file names the file.
func TestFileOfAKey(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	if err := os.WriteFile("key.pem", []byte("-----BEGIN PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	signed := strings.Replace(acme, `headers: [{name: x-key, value: "${api_key}"}]`, `jwt: {algorithm: ES256, key: "${api_key}", claims: {}}, headers: [{name: a, value: "${jwt}"}]`, 1)
	for file, want := range map[string]string{
		"key.pem": "broker.yaml:5:69: in the file key.pem: line 1: the block has no END line: the file is cut off; copy it again",
		"nowhere": "broker.yaml:5:76: the file does not exist; a relative path is relative to the working directory",
	} {
		text := "providers: [" + signed + "]\ncredentials:\n- {id: one, provider: acme, auth_method: api_key, values: {api_key: {file: " + file + "}}}\n"
		if _, err := config.Parse("broker.yaml", []byte(text), config.Options{}); err == nil || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
}

// TestCredentialsOfFaultyProviders checks that the problems of a definition are reported without those
// of its credentials, which may only be a consequence.
func TestCredentialsOfFaultyProviders(t *testing.T) {
	for _, wrong := range []string{
		"{url: 5, body: NONE, client_authentication: NONE}",
		"{url: 'http://acme.test', body: NONE, client_authentication: NONE}",
		"{url: 'https://acme.test', url: 'https://acme.test', body: NONE, client_authentication: NONE}",
		"{url: 'https://acme.test', body: NONE, client_authentication: NONE, first: [{}]}",
		"{url: '${x.y}', body: JSON, client_authentication: NONE}",
		"5",
		"",
	} {
		definition := strings.Replace(acme, "headers:", "token_request: "+wrong+",\n   headers:", 1)
		definition = strings.Replace(definition, "${api_key}", "${api_key}${token}", 1)
		_, err := parse(t, "providers: ["+definition+"]\ncredentials:\n- {id: one, provider: acme, auth_method: api_key, values: {api_key: {value: x}}}\n")
		if err == nil || !strings.Contains(err.Error(), ":3:") || strings.Contains(err.Error(), ":6:") {
			t.Errorf("%s: the error is %v, want only problems in line 3", wrong, err)
		}
	}
}
