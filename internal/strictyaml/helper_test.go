package strictyaml_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// The schemas by their URLs: a configuration file, and a definition that it refers
// to.
const (
	configURL   = "https://authmaterial.invalid/test/config.json"
	providerURL = "https://authmaterial.invalid/test/provider.json"
)

const configJSON = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["credentials"],
  "properties": {
    "listen": {
      "type": "object",
      "additionalProperties": false,
      "properties": {"grpc": {"type": "string"}, "http": {"type": "string"}}
    },
    "credentials": {"type": "array", "items": {"$ref": "#/$defs/credential"}},
    "providers": {"type": "array", "items": {"$ref": "provider.json"}},
    "token_cache": {
      "type": "object",
      "additionalProperties": false,
      "properties": {"fleet_keys": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/source"}}}
    }
  },
  "$defs": {
    "credential": {
      "type": "object",
      "additionalProperties": false,
      "required": ["id", "provider", "auth_method"],
      "properties": {
        "id": {
          "type": "string",
          "pattern": "^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$",
          "errorMessage": "must be 1 to 128 lower-case letters, digits, dots, dashes and underscores"
        },
        "display_name": {"type": "string", "minLength": 1, "maxLength": 200},
        "labels": {
          "type": "object",
          "propertyNames": {"pattern": "^[a-z]+$", "maxLength": 8, "errorMessage": "must be 1 to 8 lower-case letters"},
          "additionalProperties": {"type": "string"}
        },
        "disabled": {"type": "boolean"},
        "provider": {"type": "string"},
        "auth_method": {"enum": ["api_key", "oauth2_client_credentials"]},
        "allowed_hosts": {"type": "array", "maxItems": 3, "uniqueItems": true, "items": {"type": "string"}},
        "values": {"type": "object", "additionalProperties": {"$ref": "#/$defs/source"}}
      }
    },
    "source": {
      "type": "object",
      "additionalProperties": false,
      "minProperties": 1,
      "maxProperties": 1,
      "properties": {
        "env": {"type": "string", "minLength": 1},
        "file": {"type": "string", "minLength": 1},
        "value": {"type": "string", "minLength": 1}
      },
      "errorMessage": {
        "type": "must be {env: NAME}, {file: PATH} or {value: TEXT}",
        "minProperties": "must have one of env, file and value",
        "maxProperties": "must have one of env, file and value alone"
      }
    }
  }
}`

const providerJSON = `{
  "type": "object",
  "additionalProperties": false,
  "required": ["id"],
  "properties": {
    "id": {"type": "string"},
    "rejected_statuses": {"type": "array", "uniqueItems": true, "items": {"type": "integer", "minimum": 400, "maximum": 599}}
  }
}`

var config = strictyaml.MustCompile(configURL, map[string][]byte{
	configURL:   []byte(configJSON),
	providerURL: []byte(providerJSON),
})

// compile compiles one schema.
func compile(schema string) *strictyaml.Schema {
	return strictyaml.MustCompile(configURL, map[string][]byte{configURL: []byte(schema)})
}

// lines joins the lines of a document.
func lines(text ...string) string { return strings.Join(text, "\n") + "\n" }

// problems returns what is wrong with a document, one string each.
func problems(d *strictyaml.Document) []string {
	err := d.Err()
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// checkProblems compares the problems of a document in the file f with those wanted.
func checkProblems(t *testing.T, d *strictyaml.Document, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, problems(d)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
