package formtest_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// testedElsewhere are the keys of auth methods that have no case here, each with the package that tests it.
// The case itself sets the fields and the texts for people.
var testedElsewhere = map[string]string{
	"token_request.allow_private_addresses": "internal/server",
	"token_request.previous_token":          "brokertest",
	"token_request.response.refresh_token":  "internal/server and internal/testing/oidctest",
	"verification":                          "internal/verification",
	"rotation":                              "internal/management",
	"id":                                    "", "display_name": "", "description": "", "documentation_url": "", "fields": "",
}

// TestEveryKeyHasACase checks that each key of auth methods in the schema of definitions is used by a
// case that is not about a problem of a definition.
func TestEveryKeyHasACase(t *testing.T) {
	text, err := os.ReadFile("../../../docs/provider.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	wanted, used := map[string]bool{}, map[string]bool{}
	keysOfSchema(schema.Defs, schema.Defs["authMethod"], "", wanted)
	for _, cases := range readCases(t) {
		for _, c := range cases {
			var method any
			if err := yaml.Load([]byte(c.Method), &method); err != nil {
				t.Fatal(err)
			}
			if c.Problem == "" {
				keysOf(method, "", used)
			}
		}
	}
	if len(wanted) < 50 {
		t.Errorf("only %d keys were found in the schema", len(wanted))
	}
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if !used[key] {
			t.Errorf("no case has the key %s: add one to testdata", key)
		}
	}
}

// keysOfSchema adds the paths of the keys in a schema, such as token_request.response.token.
func keysOfSchema(defs map[string]map[string]any, schema map[string]any, path string, keys map[string]bool) {
	if reference, ok := schema["$ref"].(string); ok {
		keysOfSchema(defs, defs[strings.TrimPrefix(reference, "#/$defs/")], path, keys)
	}
	if items, ok := schema["items"].(map[string]any); ok {
		keysOfSchema(defs, items, path, keys)
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		key := strings.TrimPrefix(path+"."+name, ".")
		if _, elsewhere := testedElsewhere[key]; elsewhere {
			continue
		}
		keys[key] = true
		keysOfSchema(defs, property.(map[string]any), key, keys)
	}
}

// keysOf adds the paths of the keys in a value in YAML.
func keysOf(value any, path string, keys map[string]bool) {
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			keysOf(item, path, keys)
		}
	case map[string]any:
		for name, member := range value {
			key := strings.TrimPrefix(path+"."+name, ".")
			keys[key] = true
			keysOf(member, key, keys)
		}
	}
}
