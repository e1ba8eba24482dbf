package config_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/config"
)

type schemas map[string]map[string]any

func loadSchemas(t *testing.T) schemas {
	t.Helper()
	all := schemas{}
	for _, name := range []string{"config.schema.json", "provider.schema.json"} {
		var schema map[string]any
		text, err := os.ReadFile("../../docs/" + name)
		if err == nil {
			err = json.Unmarshal(text, &schema)
		}
		if err != nil {
			t.Fatal(err)
		}
		all[name] = schema
	}
	return all
}

// find follows the references of a schema. It returns the schema at the end, and the name of the
// file that contains this schema.
func (s schemas) find(file string, schema map[string]any) (string, map[string]any) {
	reference, ok := schema["$ref"].(string)
	if !ok {
		return file, schema
	}
	name, pointer, _ := strings.Cut(reference, "#")
	if name != "" {
		file = name
	}
	found := s[file]
	for _, step := range strings.Split(strings.Trim(pointer, "/"), "/") {
		if step != "" {
			found = found[step].(map[string]any)
		}
	}
	return s.find(file, found)
}

// `place` is a configuration in which the text HERE stands for the tested value.
type place string

// problemsAt returns the problems that a configuration has if `value`, in JSON, replaces the text
// HERE.
func (p place) problemsAt(value string) []string {
	before, after, _ := strings.Cut(string(p), "HERE")
	_, err := config.Parse("f", []byte(before+value+after), config.Options{LookupEnv: environment})
	var found []string
	for line := range strings.SplitSeq(fmt.Sprint(err), "\n") {
		if message, ok := strings.CutPrefix(line, fmt.Sprintf("f:1:%d: ", len(before)+1)); ok {
			found = append(found, message)
		}
	}
	return found
}

// TestSchemaAndCodeAgree checks that the code and the JSON Schema for editors accept the same keys,
// the same kinds of values and the same bounds.
func TestSchemaAndCodeAgree(t *testing.T) {
	checker := schemaChecker{t, loadSchemas(t), 0}
	checker.check("config.schema.json", checker.all["config.schema.json"], "HERE")
	if checker.rules < 300 {
		t.Errorf("only %d rules were checked", checker.rules)
	}
}

type schemaChecker struct {
	*testing.T
	all   schemas
	rules int
}

func (c *schemaChecker) refused(at place, value, words string) {
	c.rules++
	if found := at.problemsAt(value); !slices.ContainsFunc(found, func(message string) bool { return strings.Contains(message, words) }) {
		c.Errorf("%s: %.50s has the problems %q, want %q", at, value, found, words)
	}
}

func (c *schemaChecker) allowed(at place, value, words string) {
	c.rules++
	for _, message := range at.problemsAt(value) {
		if strings.Contains(message, words) {
			c.Errorf("%s: %.50s has the problem %q", at, value, message)
		}
	}
}

func (c *schemaChecker) check(file string, schema map[string]any, at place) {
	file, schema = c.all.find(file, schema)
	number := func(key string) (int, bool) { bound, ok := schema[key].(float64); return int(bound), ok }
	for kind, value := range map[string]string{"string": `"x"`, "boolean": "true", "integer": "1", "array": "[]", "object": "{}", "null": "null"} {
		if !allows(schema["type"], kind) && (kind != "null" || at != "HERE") {
			c.refused(at, value, "must be ")
		}
	}
	if values, ok := schema["enum"].([]any); ok {
		c.refused(at, `"x"`, "must be one of")
		for _, value := range values {
			c.allowed(at, fmt.Sprintf("%q", value), "must be one of")
		}
	}
	if _, ok := schema["pattern"]; ok {
		c.refused(at, `"*"`, "must be ")
	} else if longest, ok := number("maxLength"); ok {
		c.allowed(at, `"`+strings.Repeat("é", longest)+`"`, "must have at most")
		c.refused(at, `"`+strings.Repeat("x", longest+1)+`"`, "must have at most")
		if _, ok := number("minLength"); ok {
			c.refused(at, `""`, "must not be empty")
		}
	} else if schema["type"] == "string" {
		c.Errorf("%s: the schema has no bound", at)
	}
	if least, ok := number("minimum"); ok {
		most, _ := number("maximum")
		for _, bound := range []int{least, most} {
			c.allowed(at, fmt.Sprint(bound), "must be a whole number")
		}
		for _, bound := range []int{least - 1, most + 1} {
			c.refused(at, fmt.Sprint(bound), fmt.Sprintf("must be a whole number from %d to %d", least, most))
		}
	}
	c.checkItems(file, schema, at)
	c.checkKeys(file, schema, at)
}

// `allows` reports whether a schema's `type` allows values of a kind. The schemas without a type
// have an enum of strings.
func allows(types any, kind string) bool {
	switch types := types.(type) {
	case nil:
		return kind == "string"
	case []any:
		return slices.Contains(types, any(kind)) || kind == "integer" && slices.Contains(types, any("number"))
	default:
		return kind == types
	}
}

func (c *schemaChecker) checkItems(file string, schema map[string]any, at place) {
	items, ok := schema["items"].(map[string]any)
	if !ok {
		return
	}
	if least, ok := schema["minItems"]; ok && least.(float64) > 0 {
		c.refused(at, "[]", "must have 1 to")
	}
	if most, ok := schema["maxItems"].(float64); ok {
		c.refused(at, "["+strings.Repeat("a,", int(most)+1)+"]", fmt.Sprintf("to %d items", int(most)))
	}
	c.check(file, items, place(strings.Replace(string(at), "HERE", "[HERE]", 1)))
}

func (c *schemaChecker) checkKeys(file string, schema map[string]any, at place) {
	under := func(key string) place { return place(strings.Replace(string(at), "HERE", "{"+key+": HERE}", 1)) }
	properties, _ := schema["properties"].(map[string]any)
	if more, ok := schema["additionalProperties"].(map[string]any); ok {
		c.check(file, more, under("x"))
	} else if len(properties) > 0 && schema["maxProperties"] == nil {
		names := slices.Sorted(maps.Keys(properties))
		key := place(strings.Replace(string(at), "HERE", "{HERE: x}", 1))
		c.refused(key, "qqqqqqqq", `known here: "`+strings.Join(names, `", "`)+`"`)
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		c.refused(at, "{}", fmt.Sprintf("the key %q is missing", name))
	}
	for name, property := range properties {
		c.check(file, property.(map[string]any), under(name))
	}
}
