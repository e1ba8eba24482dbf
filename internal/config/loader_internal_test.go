package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/yamlfile"
)

// list returns a configuration with several credentials. Only the credential with the index
// `changed` has a different value.
func list(count, changed int) string {
	var text strings.Builder
	text.WriteString("listen: {grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\"}\n# the accounts\ncredentials:\n")
	for i := range count {
		value := "k"
		if i == changed {
			value = "other"
		}
		fmt.Fprintf(&text, "  # number %[1]d\n  - id: c%[1]d\n    provider: pendo\n    auth_method: api_key\n    values:\n      api_key: {value: %[2]s}\n", i, value)
	}
	return text.String()
}

func TestReloadParsesWhatHasChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.yaml")
	loader := NewLoader(path)
	load := func(text string) (*Config, error) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		loader.parsed = 0
		return loader.Load(Options{})
	}
	const count = 2000 // enough credentials for readPieces to make several pieces
	for _, step := range []struct {
		name, text string
		parsed     int
	}{
		{"the first load", list(count, -1), count},
		{"no change", list(count, -1), 0},
		{"one value", list(count, 1234), 1},
		{"the first value", list(count, 0), 2},
		{"a line above", "# a comment\n" + list(count, 0), 0},
		{"one more, with a comment below the last", list(count+1, 0), 2},
		{"less", list(count/2, 0), 1},
		{"the last has no line end", strings.TrimSuffix(list(count/2, 0), "\n"), 1},
	} {
		got, err := load(step.text)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if loader.parsed != step.parsed || got.Credentials.Len() != strings.Count(step.text, "- id") {
			t.Errorf("%s: %d items were parsed, want %d; the configuration has %d credentials", step.name, loader.parsed, step.parsed, got.Credentials.Len())
		}
	}
	broken := strings.Replace(list(count, 0), "id: c7\n", "id: c8\n", 1)
	_, err := load("# a comment\n" + broken)
	if want := path + ":54:9: duplicate ID: it is already in line 48"; err == nil || err.Error() != want {
		t.Errorf("the problems are %v, want %s", err, want)
	}
	if _, err := load(list(count, 0)); err != nil || loader.parsed != count/2+1 {
		t.Errorf("after a file with a problem %d items were parsed: %v", loader.parsed, err)
	}
}

// TestValuesAreReadAtEachLoad changes a file that contains a credential's value, and checks that
// the next load reads the new value although the configuration file is unchanged.
func TestValuesAreReadAtEachLoad(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "b.yaml")
	text := strings.ReplaceAll(list(1, -1), "{value: k}", "{file: key}")
	loader := NewLoader(path)
	for _, value := range []string{"one", "two"} {
		for name, content := range map[string]string{"b.yaml": text, "key": value} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := loader.Load(Options{})
		if err != nil {
			t.Fatal(err)
		}
		for credential := range got.Credentials.All() {
			if credential.Values["api_key"].Reveal() != value {
				t.Errorf("the value is not %s", value)
			}
		}
	}
}

func render(document *yamlfile.Document, items []placedItem) string {
	var out strings.Builder
	fmt.Fprintln(&out, document.Err())
	for _, item := range items {
		read := *item.credentialItem
		fmt.Fprintln(&out, item.at(read.id.at), item.at(read.provider.at), item.at(read.method.at), item.at(read.valuesAt))
		for _, value := range read.values {
			fmt.Fprintln(&out, value.field.value, item.at(value.field.at), item.at(value.at), item.at(value.given.at), value.kind, value.given.value)
		}
		fmt.Fprintln(&out, read.id.value, read.displayName, read.description, read.labels, read.disabled,
			read.provider.value, read.method.value, read.allowedHosts, read.valuesAt != yamlfile.Place{})
	}
	return out.String()
}

// FuzzSplit checks that splitting a file gives the same result as parsing the whole file, even if
// the items are already known from an earlier load.
func FuzzSplit(f *testing.F) {
	f.Add(list(3, 1))
	f.Add("# a\ncredentials:\n- id: a\n  values: {}\n\n# b\n- {id: b}\n-\n  id: c\nlisten: {}\n")
	f.Add("credentials:\n- id: \"a\n- b\"\n- |\n  - x\n")
	f.Add("a: |\n x\ncredentials:\n- b\nc: 'd\ncredentials:\n- e'\n")
	const item = "- {id: a, provider: p, auth_method: m, values: {}, description: x}\n"
	f.Add("credentials: ~\nb: \"x\ncredentials:\n" + item + "\"\n")
	f.Add("credentials:\n  " + item + " x: y\n")
	f.Add("credentials:\n" + strings.Replace(item, "x}", "\"x\n- y\"}", 1))
	f.Add("credentials:\n" + item + item + "credentials:\n" + item)
	f.Add("credentials:\n  - id: a\n - id: b\n")
	f.Add("credentials:\n  - id: a\n  id: b\n")
	f.Add("credentials:\n  - {id: a,\n  - b: c}\n")
	f.Add("credentials:\r\n  - id: a\r\n    description: |+\r\n      x\r\n\r\n  - &a id: b\r\n")
	f.Add("\uFEFFcredentials:\n  - !x a\n  - *a\n---\n- b\n")
	f.Add("credentials:\n- a\n\t- b\n...\n- c\ncredentials:\n- d\n")
	f.Fuzz(func(t *testing.T, text string) {
		loader := NewLoader("f")
		data := []byte(text)
		for range 2 {
			split := render(loader.read(data))
			if want := render(NewLoader("f").readWhole(data)); split != want {
				t.Fatalf("%q: if the file is parsed in pieces, the result is\n%s\nwant\n%s", data, split, want)
			}
			_, items := loader.read(data)
			loader.remember(items)
			data = append([]byte("# a line\n"), data...)
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	const count = 100_000
	data := []byte(list(count, -1))
	changed := []byte(list(count, count/2))
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			if _, err := Parse("b.yaml", data, Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one changed", func(b *testing.B) {
		loader := NewLoader("b.yaml")
		for b.Loop() {
			if _, err := loader.parse(data, Options{}); err != nil {
				b.Fatal(err)
			}
			data, changed = changed, data
		}
	})
}
