package strictyaml_test

import (
	"testing"

	"github.com/authmaterial/broker/internal/strictyaml"
)

func TestSoundDocument(t *testing.T) {
	document := strictyaml.Parse("f", []byte(lines(
		"listen: {grpc: 127.0.0.1:50051}",
		"credentials:",
		"  - id: sendpulse-prod",
		"    display_name: 2026-11-21",
		"    labels: {team: yes, on: off}",
		"    disabled: false",
		"    provider: sendpulse",
		"    auth_method: api_key",
		"    allowed_hosts: []",
		"    values:",
		"      client_id: {env: SENDPULSE_CLIENT_ID}",
		"      client_secret:",
		"        file: |",
		"          /run/secrets/sendpulse",
		"providers: []",
	)), config)
	checkProblems(t, document)
}

// TestConfigurationWithManyProblems has one problem of each kind that a file of that
// form can have, and finds them all.
func TestConfigurationWithManyProblems(t *testing.T) {
	document := strictyaml.Parse("broker.yaml", []byte(lines(
		"credentails: []",
		"credentials:",
		"  - id: Nope",
		"    display_name:",
		"    disabled: yes",
		"    provider: 12345",
		"    auth_method: none",
		"    labels: {Team: growth, ab: 1, toolongname: x}",
		"    allowed_hosts: [a, b, a, b]",
		"    values:",
		"      one: s3cret",
		"      two: {}",
		"      three: {env: A, file: B}",
		"      four: {value: 0123}",
		"      five: {vlaue: x}",
		"      six: {value: ''}",
		"  - name: x",
		"  - text",
		"listen: {grpc: true, http: }",
		"providers:",
		"  - rejected_statuses: [401, 399, 600, 401, 450.5, '500']",
		"  - {id: [x]}",
		"token_cache: {fleet_keys: []}",
	)), config)
	known := `; known here: "allowed_hosts", "auth_method", "disabled", "display_name", "id", "labels", "provider", "values"`
	checkProblems(t, document,
		`broker.yaml:1:1: unknown key; did you mean "credentials"?`,
		"broker.yaml:3:9: must be 1 to 128 lower-case letters, digits, dots, dashes and underscores",
		"broker.yaml:4:18: must be a string, and is empty",
		"broker.yaml:5:15: must be true or false, and is a string",
		"broker.yaml:6:15: must be a string, and is a number: put it in quotes",
		`broker.yaml:7:18: must be one of "api_key", "oauth2_client_credentials"`,
		`broker.yaml:8:14: this key must be 1 to 8 lower-case letters`,
		"broker.yaml:8:32: must be a string, and is a number: put it in quotes",
		`broker.yaml:8:35: this key must be 1 to 8 lower-case letters`,
		"broker.yaml:9:20: must have at most 3 items, and has 4",
		"broker.yaml:9:27: repeats the item in line 9",
		"broker.yaml:9:30: repeats the item in line 9",
		"broker.yaml:11:12: must be {env: NAME}, {file: PATH} or {value: TEXT}",
		"broker.yaml:12:12: must have one of env, file and value",
		"broker.yaml:13:14: must have one of env, file and value alone",
		"broker.yaml:14:21: must be a string, and is a number: put it in quotes",
		`broker.yaml:15:14: unknown key; did you mean "value"?`,
		"broker.yaml:16:20: must not be empty",
		`broker.yaml:17:5: the key "auth_method" is missing`,
		`broker.yaml:17:5: the key "id" is missing`,
		`broker.yaml:17:5: the key "provider" is missing`,
		`broker.yaml:17:5: unknown key`+known,
		"broker.yaml:18:5: must be a mapping, and is a string",
		"broker.yaml:19:16: must be a string, and is a boolean: put it in quotes",
		"broker.yaml:19:28: must be a string, and is empty",
		`broker.yaml:21:5: the key "id" is missing`,
		"broker.yaml:21:30: must be at least 400",
		"broker.yaml:21:35: must be at most 599",
		"broker.yaml:21:40: repeats the item in line 21",
		"broker.yaml:21:45: must be a whole number",
		"broker.yaml:21:52: must be a whole number, and is a string",
		"broker.yaml:22:10: must be a string, and is a list",
		"broker.yaml:23:27: must have at least 1 item",
	)
}

// TestKeywords has the sentence of each keyword, for a document that is one value.
func TestKeywords(t *testing.T) {
	tests := []struct{ name, schema, source, want string }{
		{"null", `{"type": "null"}`, "a", "must be empty, and is a string"},
		{"boolean", `{"type": "boolean"}`, "'true'", "must be true or false, and is a string"},
		{"integer", `{"type": "integer"}`, "1.5", "must be a whole number"},
		{"integer like a float", `{"type": "integer"}`, "1.0", ""},
		{"number", `{"type": "number"}`, "1_000", "must be a number, and is a string"},
		{"several types", `{"type": ["string", "object"]}`, "[]", "must be a string or a mapping, and is a list"},
		{"boolean of capitals", `{"type": "string"}`, "TRUE", "must be a string, and is a boolean: put it in quotes"},
		{"octal", `{"maximum": 15}`, "0o17", ""},
		{"leading zero", `{"maximum": 17}`, "017", ""},
		{"enum of one", `{"enum": [1]}`, "2", "must be 1"},
		{"enum, and empty", `{"enum": ["a", true]}`, "~", `must be one of "a", true, and is empty`},
		{"pattern", `{"pattern": "^a+$"}`, "b", "must match ^a+$"},
		{"minLength 1", `{"minLength": 1}`, "''", "must not be empty"},
		{"minLength", `{"minLength": 3}`, "éé", "must have at least 3 characters"},
		{"maxLength", `{"maxLength": 1}`, "éé", "must have at most 1 character"},
		{"minItems", `{"minItems": 2}`, "[a]", "must have at least 2 items"},
		{"maxItems", `{"maxItems": 1}`, "[a, b]", "must have at most 1 item, and has 2"},
		{"minProperties", `{"minProperties": 1}`, "{}", "must have at least 1 key"},
		{"maxProperties", `{"maxProperties": 0}`, "{a: b}", "must have at most 0 keys, and has 1"},
		{"minimum", `{"minimum": 1.5}`, "1", "must be at least 1.5"},
		{"maximum", `{"maximum": 1}`, "1e3", "must be at most 1"},
		{"unknown, nothing known", `{"additionalProperties": false}`, "a: 1", `unknown key`},
		{"no words", `{"const": "a"}`, "b", "is not allowed here"},
		{"no words for forms", `{"anyOf": [{"minLength": 2}, {"pattern": "^b"}]}`, "a", "is not allowed here"},
		{"no words, and a form", `{"format": "ipv4"}`, "b", ""},
		{"propertyNames without words", `{"propertyNames": {"minLength": 2}}`, "a: 1", `this key must have at least 2 characters`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var want []string
			if test.want != "" {
				want = []string{"f:1:1: " + test.want}
			}
			checkProblems(t, strictyaml.Parse("f", []byte(test.source), compile(test.schema)), want...)
		})
	}
}

// TestErrorMessage shows whose words are used.
func TestErrorMessage(t *testing.T) {
	tests := []struct{ name, schema, source, want string }{
		{"string", `{"pattern": "b", "errorMessage": "must be b"}`, "a", "f:1:1: must be b"},
		{"one for several keywords", `{"pattern": "b", "minLength": 2, "errorMessage": "must be bb"}`, "a", "f:1:1: must be bb"},
		{"not for the type", `{"type": "string", "pattern": "b", "errorMessage": "must be b"}`, "1",
			"f:1:1: must be a string, and is a number: put it in quotes"},
		{"not for keys", `{"required": ["a"], "errorMessage": "must be b"}`, "{}", `f:1:1: the key "a" is missing`},
		{"of another keyword", `{"minLength": 2, "errorMessage": {"pattern": "must be b"}}`, "a",
			"f:1:1: must have at least 2 characters"},
		{"type", `{"type": "string", "errorMessage": {"type": "must be text"}}`, "1", "f:1:1: must be text"},
		{"required", `{"required": ["a"], "errorMessage": {"required": "must have a"}}`, "{}", "f:1:1: must have a"},
		{"unknown key", `{"additionalProperties": false, "errorMessage": {"additionalProperties": "is not for here"}}`, "a: 1",
			`f:1:1: this key is not for here`},
		{"behind a reference with odd characters", `{"$ref": "#/$defs/a~1b%25 c", "$defs": {"a/b% c": {"minLength": 2, "errorMessage": "must be b"}}}`,
			"a", "f:1:1: must be b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkProblems(t, strictyaml.Parse("f", []byte(test.source), compile(test.schema)), test.want)
		})
	}
}

// TestPlaceOfNames has many mappings of one depth: each key has its own place.
func TestPlaceOfNames(t *testing.T) {
	schema := compile(`{"items": {"properties": {"labels": {"propertyNames": {"maxLength": 1, "errorMessage": "is too long"}}}}}`)
	checkProblems(t, strictyaml.Parse("f", []byte(lines(
		"- labels: {ab: 1}",
		"- labels: {c: 1, de: 2}",
		"- other: {fg: 1}",
		"- labels: {h: 1}",
	)), schema),
		`f:1:12: this key is too long`,
		`f:2:18: this key is too long`,
	)
}

func TestNearest(t *testing.T) {
	schema := compile(`{"additionalProperties": false, "properties": {"id": true, "ids": true, "client_secret": true}}`)
	known := `; known here: "client_secret", "id", "ids"`
	for key, want := range map[string]string{
		"ie":             `; did you mean "id"?`,
		"idss":           `; did you mean "ids"?`,
		"x":              known,
		"clientsecret":   `; did you mean "client_secret"?`,
		"client_sceret":  `; did you mean "client_secret"?`,
		"Client_Sceret":  `; did you mean "client_secret"?`,
		"Client-Sceret":  known,
		"client_secrets": `; did you mean "client_secret"?`,
	} {
		checkProblems(t, strictyaml.Parse("f", []byte(key+": 1"), schema), `f:1:1: unknown key`+want)
	}
}

func TestMustCompilePanics(t *testing.T) {
	tests := []struct {
		name      string
		resources map[string][]byte
	}{
		{"no JSON", map[string][]byte{configURL: []byte(`{`)}},
		{"no schema", map[string][]byte{configURL: []byte(`{"type": "text"}`)}},
		{"no such resource", map[string][]byte{providerURL: []byte(`{}`)}},
		{"relative name", map[string][]byte{configURL: []byte(`{}`), "provider.json": []byte(`{}`)}},
		{"reference to a file", map[string][]byte{configURL: []byte(`{"$ref": "file:///etc/passwd"}`)}},
		{"reference to nothing", map[string][]byte{configURL: []byte(`{"$ref": "provider.json"}`)}},
		{"broken pattern", map[string][]byte{configURL: []byte(`{"pattern": "("}`)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it compiled")
				}
			}()
			strictyaml.MustCompile(configURL, test.resources)
		})
	}
}
