package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// ownProviders is a configuration file whose credentials have no values yet, because the operator
// first looks up which values they need.
const ownProviders = `
credentials:
  - {id: acme, provider: acme_, auth_method: main, values: {key: {env: NOT_SET}}}
providers:
  - id: acme_
    display_name: Acme
    allowed_hosts: [api.acme.test]
    auth_methods:
      - id: main
        display_name: Main
        rejected_statuses: []
        fields:
          - {id: key, display_name: Key, secret: true}
          - {id: region, display_name: Region & place, secret: false}
        rotation: OVERLAPPING
        verification:
          path: /me?a=b&c=<d>
          answers:
            - {statuses: [200], json: {ok: true, code: 0, name: "a&b"}, outcome: ACCEPTED}
            - {statuses: [401], json: {}, outcome: REFUSED, explanation: Check it.}
            - {statuses: [403], outcome: INCONCLUSIVE}
        headers: [{name: X-Key, value: "${key.orValue('none')}"}]
        query_params: [{name: region, value: "${region}"}]
      - id: second
        display_name: Second
        fields:
          - {id: client_id, display_name: Client ID, required: true}
          - {id: client_secret, display_name: Client secret, required: true, secret: true}
        token_request:
          url: https://api.acme.test/token
          body: FORM
          client_authentication: BASIC
          parameters: {audience: "${client_id}", scope: "read write"}
          default_lifetime: 15m
          allow_private_addresses: true
          previous_token: ENDED
        headers: [{name: Authorization, value: "Bearer ${token}"}]
`

func ownFile(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "broker.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var spaces = regexp.MustCompile(` +`)

func TestProviders(t *testing.T) {
	lines := strings.Split(spaces.ReplaceAllString(succeed(t, "providers", "--config", ownFile(t, ownProviders)), " "), "\n")
	for _, want := range []string{
		"PROVIDER AUTH METHOD FIELDS",
		"acme_ main key, region",
		"acme_ second client_id, client_secret",
		"sendpulse oauth2_client_credentials client_id, client_secret",
		"sendpulse api_key api_key",
		"spotdraft client_headers client_id, client_secret, user_email",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the list lacks the line %q:\n%s", want, strings.Join(lines, "\n"))
		}
	}
	if got := succeed(t, "providers"); strings.Contains(got, "acme") || !strings.Contains(got, "pendo") {
		t.Errorf("without a configuration file the list of providers is\n%s", got)
	}
}

const wantPendo = "Pendo (pendo)\n" + `Product analytics and in-app guides.

allowed host   app.pendo.io
allowed host   us1.app.pendo.io
allowed host   app.eu.pendo.io
allowed host   app.jpn.pendo.io
allowed host   app.au.pendo.io
documentation  https://engageapi.pendo.io/
source         https://adoptpartners.pendo.io/hc/en-us/articles/4408558716955-Integrations-Tab
source         https://docs.nexla.com/user-guides/connectors/pendo_api/pendo_api_auth

Auth method api_key: Integration key
  An integration key, sent in the header ` + "`x-pendo-integration-key`" + `.

  A key works only in the region of its subscription. Pendo answers 403 with an
  empty body for a bad key and for the wrong region alike. If the host of your
  region is none of allowed_hosts, name it under allowed_hosts of the
  credential.

  header       x-pendo-integration-key: ${api_key}
  rejected by  403
  new secret   unknown: the old secret may stay valid or not
  verified by  GET /api/v1/token/verify at each allowed host

  Fields
  api_key (required, secret): Integration key
      In Pendo, open Settings > Integrations > Integration Keys, as an
      administrator, and create a key.

  For the configuration file, under 'credentials'
  - id: pendo
    provider: pendo
    auth_method: api_key
    values:
      api_key: {env: PENDO_API_KEY}
`

func TestProvider(t *testing.T) {
	if got := succeed(t, "providers", "pendo"); got != wantPendo {
		t.Errorf("the provider is\n%s\nwant\n%s", got, wantPendo)
	}
}

// snippetsIn matches the lines that the operator copies into the configuration file.
var snippetsIn = regexp.MustCompile(`(?m)^  For the configuration file.*\n((?:  [- ] .*\n)+)`)

func TestSnippetsAreValid(t *testing.T) {
	path := ownFile(t, ownProviders)
	known, err := loadCatalog(path)
	if err != nil {
		t.Fatal(err)
	}
	_, providers, _ := strings.Cut(ownProviders, "providers:")
	key, certificate := keyPair(t)
	keyFile := asJSON(t, map[string]string{"private_key": key, "private_key_id": "a", "client_email": "a@b.test"})
	for _, provider := range known.Providers() {
		found := snippetsIn.FindAllStringSubmatch(succeed(t, "providers", provider.ID, "--config", path), -1)
		prefix := strings.ToUpper(strings.ReplaceAll(provider.ID, "-", "_"))
		text := "credentials:\n"
		for _, match := range found {
			text += match[1]
		}
		loaded, err := config.Parse("broker.yaml", []byte(text+"providers:"+providers), config.Options{
			LookupEnv: func(name string) (string, bool) {
				value := strings.ReplaceAll(strings.ToLower(name), "_", "-") // fits a host, too
				for suffix, special := range map[string]string{"_PRIVATE_KEY": key, "_CERTIFICATE": certificate, "_KEY_FILE": keyFile} {
					if strings.HasSuffix(name, suffix) {
						value = special
					}
				}
				return value, strings.HasPrefix(name, prefix)
			},
		})
		if err != nil || len(found) != len(provider.AuthMethods) || loaded.Credentials.Len() != len(found) {
			t.Errorf("%s: %v\n%s", provider.ID, err, text)
		}
	}
}

// keyPair returns an RSA key and its certificate in PEM.
func keyPair(t *testing.T) (key, certificate string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}))
}

// TestProvidersJSON checks that the printed JSON can be read as provider definitions in YAML.
func TestProvidersJSON(t *testing.T) {
	path := ownFile(t, ownProviders)
	known, err := loadCatalog(path)
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Providers []json.RawMessage }
	if err := json.Unmarshal([]byte(succeed(t, "providers", "-o", "json", "--config", path)), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Providers) != len(known.Providers()) {
		t.Fatalf("the JSON has %d providers, want %d", len(list.Providers), len(known.Providers()))
	}
	for i, provider := range known.Providers() {
		one := succeed(t, "providers", provider.ID, "-o", "json", "--config", path)
		for _, text := range []string{one, string(list.Providers[i])} {
			document := yamlfile.Parse("p.json", []byte(text))
			defined := catalog.Define(document.Root())
			if err := document.Err(); err != nil || !defined.Equal(provider) {
				t.Errorf("%s: %v\n%s", provider.ID, err, text)
			}
			for j, method := range defined.AuthMethods {
				want := provider.AuthMethods[j]
				if !reflect.DeepEqual(method.Fields, want.Fields) || asJSON(t, method.Verification) != asJSON(t, want.Verification) {
					t.Errorf("the auth method %s.%s is not the same when it is read from\n%s", provider.ID, method.ID, text)
				}
			}
		}
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestProvidersProblems(t *testing.T) {
	broken := ownFile(t, strings.Replace(ownProviders, "display_name: Acme", "displayname: Acme", 1))
	wantProblem(t, []string{"providers", "sendpluse"}, `^there is no provider "sendpluse"; did you mean "sendpulse"\?\n$`)
	wantProblem(t, []string{"providers", "none"}, `^there is no provider "none"; 'broker providers' prints all of them\n$`)
	wantProblem(t, []string{"providers", "--config", "nowhere.yaml"}, `^nowhere.yaml: the configuration file does not exist`)
	wantProblem(t, []string{"providers", "--config", broken}, `broker\.yaml:6:5: unknown key; did you mean "display_name"\?\n$`)
	for _, line := range []string{"providers a b", "providers -o curl", "providers --color"} {
		stdout, stderr, code := invoke(t, strings.Fields(line)...)
		if code != exitUsage || stdout != "" || !strings.HasSuffix(stderr, "Try 'broker providers --help'.\n") {
			t.Errorf("the exit code of broker %s is %d\n%s", line, code, stderr)
		}
	}
}

func TestProvidersFitTheWidth(t *testing.T) {
	for _, provider := range catalog.Builtin().Providers() {
		var text strings.Builder
		printProvider(newScreen(&text), provider)
		for line := range strings.Lines(text.String()) {
			prose := strings.HasPrefix(line, "      ") && !strings.Contains(line, "{env:")
			if prose && len(line) > textWidth+1 {
				t.Errorf("%s: a line of the description is too long: %s", provider.ID, line)
			}
		}
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"one two three":                "one two|three",
		"1234567890":                   "1234567890",
		"a 1234567890 b":               "a|1234567890|b",
		"  spaces \n and\tlines  ":     "spaces|and|lines",
		"größer ist":                   "größer|ist",
		"größe ab":                     "größe ab",
		"\x1b[2J \u202eodd\u0000 text": "\ufffd[2J|\ufffdodd\ufffd|text",
	} {
		if got := strings.Join(wrap(text, 8), "|"); got != want {
			t.Errorf("%q is wrapped as %q, want %q", text, got, want)
		}
	}
}
