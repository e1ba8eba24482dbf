package config_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/config"
)

// TestFilesThatEverybodyWrites checks the warnings about a configuration file, and about a file
// that the configuration names, to which every user may write.
func TestFilesThatEverybodyWrites(t *testing.T) {
	folder := t.TempDir()
	main, key := filepath.Join(folder, "broker.yaml"), filepath.Join(folder, "key")
	text := "credentials: [{id: board, provider: pendo, auth_method: api_key, values: {api_key: {file: key}}}]\n"
	for _, test := range []struct {
		main, key os.FileMode
		warned    []string // the places of the expected warnings
	}{
		{main: 0o644, key: 0o664},
		{main: 0o602, key: 0o600, warned: []string{"broker.yaml:1:1: "}},
		{main: 0o600, key: 0o666, warned: []string{"broker.yaml:1:91: "}},
		{main: 0o666, key: 0o602, warned: []string{"broker.yaml:1:1: ", "broker.yaml:1:91: "}},
	} {
		for path, of := range map[string]struct {
			text string
			mode os.FileMode
		}{main: {text, test.main}, key: {"secret", test.key}} {
			if err := os.WriteFile(path, []byte(of.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, of.mode); err != nil {
				t.Fatal(err)
			}
		}
		got, err := config.Load(main, config.Options{LookupEnv: func(string) (string, bool) { return "", false }})
		if err != nil {
			t.Fatal(err)
		}
		want := test.warned
		if runtime.GOOS == "windows" {
			want = nil // file modes have no meaning on Windows
		}
		if len(got.Warnings) != len(want) {
			t.Fatalf("%v and %v: the warnings are %v, want %q", test.main, test.key, got.Warnings, want)
		}
		for i, warning := range got.Warnings {
			if text := warning.String(); !strings.HasPrefix(text, filepath.Join(folder, want[i])) || !strings.Contains(text, "chmod o-w") {
				t.Errorf("%v and %v: a warning is %q, want %s", test.main, test.key, text, want[i])
			}
		}
	}
}
