package strictyaml_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// canary is a secret, and digits one that is written as a number.
const (
	canary = "canary-6f1d"
	digits = "70615243"
)

// TestNoProblemQuotesAScalar puts secrets wherever a scalar can stand, in documents
// that are broken in every way, and finds them in no problem.
func TestNoProblemQuotesAScalar(t *testing.T) {
	broken := []string{
		// What the schema does not allow.
		"SECRET", "- SECRET", "listen: SECRET", "listen: {grpc: [SECRET], http: {a: SECRET}}", "token_cache: {fleet_keys: SECRET}",
		"credentials: SECRET", "credentials: [SECRET]", "nope: SECRET", "nope: {a: [SECRET]}",
		"credentials: [{id: SECRET!, disabled: SECRET, provider: [SECRET], auth_method: SECRET}]",
		"credentials: [{allowed_hosts: [SECRET, SECRET, SECRET, {a: SECRET}, SECRET]}]",
		"credentials: [{labels: {Team: SECRET, a: {b: SECRET}}, display_name: {a: SECRET}}]",
		"credentials: [{values: {a: SECRET, b: [SECRET], c: {value: SECRET, env: SECRET}, d: {value: {a: SECRET}}, e: {vlaue: SECRET}}}]",
		"providers: [{id: SECRET, rejected_statuses: [SECRET, SECRET]}]",
		// What is refused before.
		"a: &SECRET b", "a: *SECRET", "a: &SECRET\nb: *SECRET", "a: !SECRET b", "a: !SECRET!b c", "a: !<SECRET> b", "a: ! SECRET",
		"a: !!int SECRET", "a: !!null SECRET", "a: !!SECRET b", "<<: SECRET", "<<: *SECRET", "? [SECRET]\n: a", "? {a: SECRET}\n: b",
		"a: SECRET\na: SECRET", "a: SECRET\n---\nb: SECRET", "a: SECRETe999", "a: 0xSECRETSECRETSECRET", "a: SECRET\x00", "a: SECRET\xff",
		"a: SECRET\rb: SECRET\r", "# SECRET", "a: \x1bSECRET", strings.Repeat("- ", 70) + "SECRET",
		// What is no YAML.
		"a: 'SECRET", "a: \"SECRET", "a: \"\\SECRET\"", "a: \"SECRET\\q\"", "a: 'SECRET' SECRET", "a: [SECRET", "a: {SECRET: SECRET", "a: }SECRET",
		"a: @SECRET", "a: `SECRET`", "a: %SECRET", "a: SECRET: SECRET", "a: SECRET\n b: SECRET", "a:\n\tSECRET", "a: |SECRET", "a: SECRET\nSECRET\nb: c",
		"%SECRET", "%YAML SECRET", "%TAG SECRET SECRET", "a: SECRET\n... SECRET", "a: 'b'#SECRET", "- SECRET\nb: SECRET", "a: - SECRET", "a: ? SECRET",
		"a: \"\\xSECRET\"", "a: \"\\uSECRET\"", "\"SECRET\"\nb: SECRET", "a: &SECRET", "a: *SECRET *SECRET", "a: ,SECRET", "a: ]SECRET",
	}
	forms := []string{canary, digits, "'" + canary + "'", `"` + canary + `"`, canary + " " + digits, "é" + canary, "|\n   " + canary}
	for _, form := range forms {
		for _, source := range broken {
			source = strings.ReplaceAll(source, "SECRET", form)
			document := strictyaml.Parse("f", []byte(source), config)
			if err := document.Err(); err == nil {
				t.Errorf("%q has no problem", source)
			} else if shows(err.Error()) {
				t.Errorf("%q: %v", source, err)
			}
			if printed := fmt.Sprintf("%v %+v %s", document, document.Root(), document.Root().Key("a")); shows(printed) {
				t.Errorf("%q is printed: %s", source, printed)
			}
		}
	}
}

// TestNoKeywordQuotesAScalar does the same for every keyword of a schema.
func TestNoKeywordQuotesAScalar(t *testing.T) {
	keywords := []string{
		`"type": "array"`, `"type": "boolean"`, `"enum": ["a"]`, `"const": "a"`, `"const": 1`, `"pattern": "^$"`, `"format": "date"`, `"format": "regex", "pattern": "^$"`,
		`"format": "uri"`, `"format": "duration"`, `"format": "email"`, `"format": "uuid"`, `"format": "json-pointer"`, `"minLength": 99`, `"maxLength": 1`,
		`"maximum": 1`, `"exclusiveMaximum": 1`, `"minimum": 1e99`, `"exclusiveMinimum": 1e99`, `"multipleOf": 1000`, `"not": {}`, `"anyOf": [{"type": "null"}, {"maxLength": 1, "maximum": 1}]`,
		`"oneOf": [{}, {}]`, `"allOf": [{"maxLength": 1}, {"maximum": 1}]`, `"if": true, "then": false`,
	}
	for _, keyword := range keywords {
		schema := compile(`{"properties": {"v": {` + keyword + `}}, "items": {` + keyword + `}}`)
		for _, form := range []string{canary, digits, "'" + canary + "'"} {
			for _, source := range []string{"v: " + form, "[" + form + "]", form} {
				if err := strictyaml.Parse("f", []byte(source), schema).Err(); err != nil && shows(err.Error()) {
					t.Errorf("%s: %v", keyword, err)
				}
			}
		}
	}
	for _, keyword := range []string{
		`"uniqueItems": true`, `"contains": {"type": "null"}`, `"maxItems": 1`, `"minItems": 9`, `"prefixItems": [false, false]`, `"items": false`, `"unevaluatedItems": false`,
	} {
		err := strictyaml.Parse("f", []byte("["+canary+", "+canary+"]"), compile("{"+keyword+"}")).Err()
		if err == nil || shows(err.Error()) {
			t.Errorf("%s: %v", keyword, err)
		}
	}
}

func shows(text string) bool {
	return strings.Contains(text, canary) || strings.Contains(text, digits) || strings.Contains(text, "6f1d")
}
