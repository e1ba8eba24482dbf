package config_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/config"
)

// warningsOf loads the value once from each kind of source, and returns all warnings about it.
func warningsOf(t *testing.T, value string) []string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "key"), []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, source := range []string{"env: KEY", "file: key", `value: "` + strings.NewReplacer(`"`, `\"`, "\n", `\n`, "\t", `\t`, "\ufeff", `\ufeff`).Replace(value) + `"`} {
		text := "credentials: [{id: a, provider: acme, auth_method: key, values: {key: {" + source + "}}}]\n" + anyKey
		got, err := config.Parse(filepath.Join(folder, "b.yaml"), []byte(text), config.Options{LookupEnv: func(name string) (string, bool) { return value, name == "KEY" }})
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		for _, warning := range got.Warnings {
			all = append(all, warning.String())
		}
	}
	return all
}

const anyKey = `providers:
- id: acme
  display_name: Acme
  allowed_hosts: [api.acme.test]
  auth_methods:
  - id: key
    display_name: Key
    fields: [{id: key, display_name: Key, required: true, secret: true}]
    headers: [{name: X-Key, value: "${base64(key)}"}]
`

func TestLikelyMistakes(t *testing.T) {
	const template, lines, space, quotes, invisible = "looks like a placeholder", "has a line break", "has a space", "has quotes", "has an invisible character"
	for value, want := range map[string]string{
		"${PENDO_API_KEY}": template, "key-${ENV:-dev}": template, "$(cat key)": template, "{{ .Values.key }}": template, "$PENDO_API_KEY": template, "%PENDO_KEY%": template,
		"<your key>": template, "<%= key %>": template, "replace-with-your-client-id": template, "REPLACE_ME": template,
		"your-api-key": template, "YOUR_CLIENT_SECRET": template, "yourApiKey": template, "your-token-here": template, "insert-your-key-here": template, "your client id": template,
		"changeme": template, "Change-Me": template, "todo": template, "TBD": template, "null": template, "undefined": template,
		"xxx": template, "XXXXXXXX-xxxx": template, "sk_live_xxxxxxxxxxxx": template, "***": template, "...": template,
		"first\nsecond": lines, "key\n": lines, " key": space, "key ": space, "\tkey": space, `"key"`: quotes, "'key'": quotes, "`key`": quotes,
		"\ufeffkey": invisible, "ke\u200by": invisible, "ke\u00a0y": invisible,
	} {
		warnings := warningsOf(t, value)
		if len(warnings) != 3 {
			t.Errorf("%q: the warnings are %q, want one for each source", value, warnings)
			continue
		}
		for i, begin := range []string{"b.yaml:1:77: the value of the environment variable KEY ", "b.yaml:1:78: the content of the file ", "b.yaml:1:79: the value "} {
			if _, after, found := strings.Cut(warnings[i], begin); !found || !strings.HasPrefix(after, want) {
				t.Errorf("%q: the warning is %q, want %s%s", value, warnings[i], begin, want)
			}
			if strings.Contains(warnings[i], value) {
				t.Errorf("the warning %q quotes the value %q", warnings[i], value)
			}
		}
	}
}

// TestKeysAreNoMistakes checks that keys in the formats of real providers cause no warning.
func TestKeysAreNoMistakes(t *testing.T) {
	keys := []string{
		"k", "secret", "AKIAIOSFODNN7EXAMPLE", "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqygy", "correct horse battery staple", "p$$w0rd", "a${b", "{a}", "$5", "x", "xx",
		"mail@example.com", "it's", `say "when"`, "yourself", "todo-list-4711",
		"-----BEGIN PRIVATE KEY-----\nMC4CAQA=\n-----END PRIVATE KEY-----\n", "{\n  \"type\": \"service_account\"\n}\n", "100%", "sk_test_4eC39HqLyjWDarjtT1zdp7dc", "Ünïcode",
	}
	for range 300 {
		random := make([]byte, 32)
		_, _ = rand.Read(random)
		keys = append(keys, hex.EncodeToString(random), base64.StdEncoding.EncodeToString(random), base64.RawURLEncoding.EncodeToString(random), fmt.Sprintf("%x-%x-%x-%x-%x", random[:4], random[4:6], random[6:8], random[8:10], random[10:16]), rand.Text())
	}
	for _, key := range keys {
		if warnings := warningsOf(t, key); len(warnings) > 0 {
			t.Errorf("%q: the warnings are %q", key, warnings)
		}
	}
}
