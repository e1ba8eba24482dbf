package draft_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/curlcommand"
	"github.com/authmaterial/broker/internal/draft"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
)

func fromCurl(t *testing.T, text string) *draft.Definition {
	t.Helper()
	commands, err := curlcommand.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	definition, err := draft.FromCurl(commands)
	if err != nil {
		t.Fatal(err)
	}
	return definition
}

// configure returns a credential of a configuration file that has the definition, and the values
// that the command contains.
func configure(t *testing.T, definition *draft.Definition) *credentials.Credential {
	t.Helper()
	text, err := definition.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	file.WriteString("credentials:\n- id: c\n  provider: " + definition.ID + "\n  auth_method: " + definition.Method.ID + "\n  values:\n")
	values := maps.Clone(definition.Values())
	if _, found := values["private_key"]; found { // no command contains it
		values["private_key"] = generatedKey(t)
	}
	for id := range values {
		file.WriteString("    " + id + ": {env: " + id + "}\n")
	}
	file.WriteString("providers:\n-\n  " + strings.ReplaceAll(string(text), "\n", "\n  "))
	loaded, err := config.Parse("broker.yaml", []byte(file.String()), config.Options{LookupEnv: func(name string) (string, bool) {
		value, found := values[name]
		if value == "" {
			value = "unknown"
		}
		return value, found
	}})
	if err != nil {
		t.Fatalf("%v\n%s", err, file.String())
	}
	return loaded.Credentials.Get("c")
}

func generatedKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// decoration returns what a credential adds to a request, in the form of an example.
func decoration(t *testing.T, credential *credentials.Credential, token string) (found []string) {
	t.Helper()
	material, err := strategies.Place(credential, secret.New(token))
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range material.Headers {
		found = append(found, http.CanonicalHeaderKey(header.Name)+": "+header.Value.Reveal())
	}
	for _, param := range material.QueryParams {
		found = append(found, "?"+param.Name+"="+param.Value.Reveal())
	}
	return found
}

func canonical(wanted []string) (all []string) {
	for _, text := range wanted {
		if name, value, found := strings.Cut(text, ": "); found && text[0] != '?' {
			text = http.CanonicalHeaderKey(name) + ": " + value
		}
		all = append(all, text)
	}
	return all
}

func TestExamplesOfVendors(t *testing.T) {
	for _, example := range examples {
		t.Run(example.name, func(t *testing.T) {
			definition := fromCurl(t, example.command)
			credential := configure(t, definition)
			if diff := cmp.Diff(canonical(example.want), decoration(t, credential, ""), cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("the command and the credential differ (-command +credential):\n%s", diff)
			}
			checkSecrets(t, definition)
		})
	}
}

// checkSecrets fails if the definition contains a value that the command has for a secret field, or the
// text s3cr3t, which is a secret in every command.
func checkSecrets(t *testing.T, definition *draft.Definition) {
	t.Helper()
	text, err := definition.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "s3cr3t") {
		t.Errorf("the definition contains a secret:\n%s", text)
	}
	for _, field := range definition.Method.Fields {
		value := definition.Values()[field.ID]
		if field.Secret && value != "" && strings.Contains(string(text), value) {
			t.Errorf("the definition contains the value of %s:\n%s", field.ID, text)
		}
	}
}
