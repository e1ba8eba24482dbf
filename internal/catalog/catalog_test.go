package catalog_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/yamlfile"
)

func TestBuiltinProviders(t *testing.T) {
	for id, want := range map[string]string{
		"pendo":     "api_key",
		"pulsedive": "api_key",
		"sendpulse": "oauth2_client_credentials api_key",
		"spotdraft": "client_headers",
	} {
		provider := catalog.Builtin().Provider(id)
		if provider == nil {
			t.Errorf("there is no provider %s", id)
			continue
		}
		var ids []string
		for _, method := range provider.AuthMethods {
			ids = append(ids, method.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s has the methods %q, want %q", id, got, want)
		}
	}
}

func TestBuiltinProvidersAreDocumented(t *testing.T) {
	for _, provider := range catalog.Builtin().Providers() {
		if provider.DisplayName == "" || provider.Description == "" || provider.DocumentationURL == "" {
			t.Errorf("%s lacks a name, a description or a link", provider.ID)
		}
		for _, method := range provider.AuthMethods {
			if method.DisplayName == "" || method.Description == "" {
				t.Errorf("%s.%s lacks a name or a description", provider.ID, method.ID)
			}
			for _, field := range method.Fields {
				if field.DisplayName == "" || field.Description == "" {
					t.Errorf("%s.%s.%s lacks a name or a description", provider.ID, method.ID, field.ID)
				}
				if secretByName := strings.Contains(field.ID, "secret") || field.ID == "api_key"; !field.Secret && secretByName {
					t.Errorf("%s.%s.%s is not secret, which does not fit the field's name", provider.ID, method.ID, field.ID)
				}
			}
			if !slices.ContainsFunc(method.Fields, func(field catalog.Field) bool { return field.Secret }) {
				t.Errorf("%s.%s has no secret field", provider.ID, method.ID)
			}
		}
	}
}

// TestDefinitionsAsJSON checks that a provider as JSON is a definition of the same provider.
func TestDefinitionsAsJSON(t *testing.T) {
	withoutClaims, err := define(signing(`algorithm: HS256, key: "${key}", claims: {}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, provider := range append(catalog.Builtin().Providers(), withoutClaims) {
		checkJSON(t, provider)
	}
}

func checkJSON(t *testing.T, provider *catalog.Provider) {
	t.Helper()
	text, err := json.Marshal(provider)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := define(string(text)); err != nil || !again.Equal(provider) {
		t.Errorf("the JSON of %s is not its definition: %v\n%s", provider.ID, err, text)
	}
}

func define(text string) (*catalog.Provider, error) {
	document := yamlfile.Parse("p.yaml", []byte(text))
	provider := catalog.Define(document.Root())
	return provider, document.Err()
}

func with(method string) string {
	return "id: p\ndisplay_name: P\nallowed_hosts: [p.test]\nauth_methods:\n- id: m\n  display_name: M\n" + method
}

const (
	fieldA       = "  fields: [{id: a, display_name: A, required: true}]\n"
	clientFields = "  fields: [{id: client_id, display_name: I, required: true}, {id: client_secret, display_name: S, required: true}]\n"
	bearer       = "  headers: [{name: A, value: \"${token}\"}]\n"
)

func tokenRequest(rest string) string {
	return clientFields + "  token_request: {url: \"https://p.test/t\", body: JSON, client_authentication: BASIC" + rest + "}\n" + bearer
}

const unevaluated = "`${` is not evaluated here and would be used as it is written: write the text that is meant"

const unused = "this field is never used: use the field in a ${ } of a header, a query parameter, a host or the token request, or remove the field"

func TestDefinitionMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want string
	}{
		"misspelt field":        {with(fieldA + "  headers: [{name: X, value: \"Bearer ${b}\"}]\n"), `p.yaml:8:40: unknown field or function; there are: a, base64(text), json(text, path), sha256(text), fingerprint(key), thumbprint(certificate), lower(text), upper(text), field.orValue(text)`},
		"open expression":       {with(fieldA + "  headers: [{name: X, value: \"Bearer ${a\"}]\n"), "p.yaml:8:38: `${` without its `}`"},
		"token without one":     {with(fieldA + "  headers: [{name: X, value: \"${token}\"}]\n"), `p.yaml:8:33: unknown field or function; there are: a, base64(text), json(text, path), sha256(text), fingerprint(key), thumbprint(certificate), lower(text), upper(text), field.orValue(text)`},
		"nothing placed":        {with(fieldA), "p.yaml:5:3: the method places nothing: add headers or query_params"},
		"forbidden header":      {with(fieldA + "  headers: [{name: content-length, value: \"${a}\"}]\n"), "p.yaml:8:20: the header content-length is reserved for HTTP itself: use another header"},
		"pseudo-header":         {with(fieldA + "  headers: [{name: \":path\", value: \"${a}\"}]\n"), `p.yaml:8:20: this is not a name of an HTTP header: use letters, digits and hyphens`},
		"header twice":          {with(fieldA + "  headers: [{name: X, value: \"${a}\"}, {name: x, value: \"${a}\"}]\n"), `p.yaml:8:46: duplicate name: it is already in line 8`},
		"parameter twice":       {with(fieldA + "  query_params: [{name: x, value: \"${a}\"}, {name: x, value: \"${a}\"}]\n"), `p.yaml:8:51: duplicate name: it is already in line 8`},
		"odd parameter":         {with(fieldA + "  query_params: [{name: \"x\\n\", value: \"${a}\"}]\n"), "p.yaml:8:25: the name of a query parameter must not have control characters"},
		"field twice":           {with("  fields: [{id: a, display_name: A}, {id: a, display_name: A}]\n  headers: [{name: X, value: \"${a}\"}]\n"), `p.yaml:7:43: duplicate field: it is already in line 7`},
		"reserved word":         {with("  fields: [{id: in, display_name: A}]\n  headers: [{name: X, value: x}]\n"), `p.yaml:7:17: use another name: this name is a reserved word of the expression language`},
		"status":                {with(fieldA + "  rejected_statuses: [200]\n  headers: [{name: X, value: \"${a}\"}]\n"), "p.yaml:8:23: must be a whole number from 400 to 599"},
		"no client fields":      {with(fieldA + "  token_request: {url: \"https://p.test/t\", body: JSON, client_authentication: BASIC}\n" + bearer), "p.yaml:7:11: a method whose token_request has the client_authentication BASIC needs a required field \"client_id\"\np.yaml:7:11: a method whose token_request has the client_authentication BASIC needs a required field \"client_secret\"\np.yaml:7:17: " + unused},
		"variable in the URL":   {with(strings.Replace(tokenRequest(""), "p.test/t", "p.test/${tenant_id}/t", 1)), "p.yaml:8:42: unknown field or function; there are: client_id, client_secret, base64(text), json(text, path), sha256(text), fingerprint(key), thumbprint(certificate), lower(text), upper(text), field.orValue(text)"},
		"variable in the host":  {with(strings.Replace(tokenRequest(""), "p.test/t", "${client_id}.test/t", 1)), "p.yaml:8:24: must end, after its last expression, in a dot and a registered domain of the provider, such as .example.com; if the provider's customers choose the domain, set any_host: true, and each credential must list its host in allowed_hosts"},
		"half a variable":       {with(strings.Replace(tokenRequest(""), "p.test/t", "p.test/t?a=${", 1)), "p.yaml:8:44: `${` without its `}`"},
		"variable as header":    {with(fieldA + "  headers: [{name: \"X-${a}\", value: \"${a}\"}]\n"), "p.yaml:8:20: this is not a name of an HTTP header: use letters, digits and hyphens\np.yaml:8:23: " + unevaluated},
		"variable as parameter": {with(fieldA + "  query_params: [{name: \"x${a}\", value: \"${a}\"}]\n"), "p.yaml:8:27: " + unevaluated},
		"variable in a request": {with(tokenRequest(", parameters: {\"x${client_id}\": y}")), "p.yaml:8:101: " + unevaluated},
		"variable in a body":    {with(strings.Replace(tokenRequest(""), "body: JSON", "body: \"${JSON}\"", 1)), "p.yaml:8:50: must be one of \"JSON\", \"FORM\", \"QUERY\", \"NONE\"\np.yaml:8:51: " + unevaluated},
		"variable in a link":    {with("  documentation_url: \"https://p.test/${a}\"\n" + fieldA + "  headers: [{name: X, value: \"${a}\"}]\n"), "p.yaml:7:38: " + unevaluated},
		"field never used":      {with("  fields: [{id: a, display_name: A}, {id: b, display_name: B, required: true}]\n  headers: [{name: X, value: \"${a} b\"}]\n"), "p.yaml:7:43: " + unused},
		"field and a token":     {with(strings.Replace(tokenRequest(", parameters: {scope: \"${client_id}\"}"), "[{id", "[{id: a, display_name: A}, {id", 1)), "p.yaml:7:17: " + unused},
		"broken expression":     {with(fieldA + "  headers: [{name: X, value: \"${a\"}, {name: Y, value: y}]\n"), "p.yaml:8:31: `${` without its `}`"},
		"field named token":     {with("  fields: [{id: token, display_name: T}]\n  token_request: {url: \"https://p.test/t\", body: JSON, client_authentication: BASIC}\n" + bearer), "p.yaml:7:11: a method whose token_request has the client_authentication BASIC needs a required field \"client_id\"\np.yaml:7:11: a method whose token_request has the client_authentication BASIC needs a required field \"client_secret\"\np.yaml:7:17: use another name: in a method with a token, \"token\" is not a field"},
		"token never used":      {with(clientFields + "  token_request: {url: \"https://p.test/t\", body: JSON, client_authentication: BASIC}\n  headers: [{name: A, value: x}]\n"), "p.yaml:8:18: the token is never used: no header or query parameter holds ${token}"},
		"plain http":            {with(clientFields + "  token_request: {url: \"http://p.test/t\", body: JSON, client_authentication: BASIC}\n" + bearer), "p.yaml:8:24: must begin with https://, or with http:// and a literal loopback address"},
		"localhost by name":     {with(clientFields + "  token_request: {url: \"http://localhost/t\", body: JSON, client_authentication: BASIC}\n" + bearer), "p.yaml:8:24: must begin with https://, or with http:// and a literal loopback address"},
		"user in the URL":       {with(clientFields + "  token_request: {url: \"https://u:p@p.test/t\", body: JSON, client_authentication: BASIC}\n" + bearer), "p.yaml:8:24: must not have a user or a fragment: remove it"},
		"no host":               {with(clientFields + "  token_request: {url: \"https:///t\", body: JSON, client_authentication: BASIC}\n" + bearer), "p.yaml:8:24: must be a URL such as https://api.example.com/oauth/token"},
		"long lifetime":         {with(tokenRequest(", default_lifetime: 169h")), "p.yaml:8:104: must be a duration from 1s to 168h, such as 3600s or 15m"},
		"lifetime of a word":    {with(tokenRequest(", default_lifetime: long")), "p.yaml:8:104: must be a duration from 1s to 168h, such as 3600s or 15m"},
		"reserved parameter":    {with(tokenRequest(", parameters: {grant_type: x}")), `p.yaml:8:99: the broker sets the parameter "grant_type" itself`},
		"JSON in a token":       {with(strings.Replace(tokenRequest(""), "${token}", "${json(token, 'a')}", 1)), `p.yaml:9:30: json(), fingerprint() and thumbprint() can be used only with fields, because a credential is checked before the other values are known`},
		"token in parameters":   {with(tokenRequest(", parameters: {scope: \"${token}\"}")), `p.yaml:8:109: unknown field or function; there are: client_id, client_secret, base64(text), json(text, path), sha256(text), fingerprint(key), thumbprint(certificate), lower(text), upper(text), field.orValue(text)`},
		"port of the URL":       {with(clientFields + "  token_request: {url: \"https://p.test:99999/t\", body: JSON, client_authentication: BASIC}\n" + bearer), "p.yaml:8:24: must be a URL such as https://api.example.com/oauth/token"},
		"port of a host":        {strings.Replace(with(fieldA+"  headers: [{name: X, value: \"${a}\"}]\n"), "[p.test]", "[\"p.test:99999\"]", 1), "p.yaml:3:17: must be one host name or IP address in lower case, optionally with a port up to 65535: no scheme, no path, no wildcard"},
		"number of a host":      {strings.Replace(with(fieldA+"  headers: [{name: X, value: \"${a}\"}]\n"), "[p.test]", "[\"127.1\"]", 1), "p.yaml:3:17: must be one host name or IP address in lower case, optionally with a port up to 65535: no scheme, no path, no wildcard"},
		"number in the URL":     {with(clientFields + "  token_request: {url: \"https://0x7f000001/t\", body: JSON, client_authentication: BASIC}\n" + bearer), "p.yaml:8:24: must be a URL such as https://api.example.com/oauth/token"},
		"dot in the URL":        {with(clientFields + "  token_request: {url: \"https://p.test./t\", body: JSON, client_authentication: BASIC}\n" + bearer), "p.yaml:8:24: must be a URL such as https://api.example.com/oauth/token"},
		"address of a host":     {strings.Replace(with(fieldA+"  headers: [{name: X, value: \"${a}\"}]\n"), "[p.test]", "[\"[:::]\"]", 1), "p.yaml:3:17: must be one host name or IP address in lower case, optionally with a port up to 65535: no scheme, no path, no wildcard"},
		"reserved, in capitals": {with(strings.Replace(tokenRequest(", parameters: {Client_ID: x}"), "BASIC", "REQUEST_BODY", 1)), `p.yaml:8:106: the broker sets the parameter "Client_ID" itself`},
		"private by a word":     {with(tokenRequest(", allow_private_addresses: private")), `p.yaml:8:111: must be true or false, and is a string`},
		"odd body":              {with(strings.Replace(tokenRequest(""), "JSON", "XML", 1)), `p.yaml:8:50: must be one of "JSON", "FORM", "QUERY", "NONE"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := define(test.text)
			if err == nil {
				t.Fatal("the definition has no problem")
			}
			if err.Error() != test.want {
				t.Errorf("the problems are\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

func TestGoodDefinitions(t *testing.T) {
	for _, text := range []string{
		with(fieldA + "  query_params: [{name: x, value: \"${a}\"}, {name: X, value: \"${a}\"}]\n"),
		with(fieldA + "  headers: [{name: X, value: \"${a}\"}]\n"),
		with(tokenRequest(", default_lifetime: 15m, previous_token: ENDED, parameters: {scope: a b}")),
		with("  description: \"with ${a}\"\n" + fieldA + "  headers: [{name: X, value: \"${a}\"}]\n"),
		with("  fields: [{id: a, display_name: A}, {id: b, display_name: B}]\n  query_params: [{name: x, value: \"${a.orValue('-')}${base64(b.orValue(''))}\"}]\n"),
		with(strings.Replace(tokenRequest(", parameters: {account: \"${a}\"}"), "[{id", "[{id: a, display_name: A, required: true}, {id", 1)),
		with(strings.Replace(tokenRequest(""), "https://p.test/t", "http://127.0.0.1:8080/t", 1)),
		with(strings.Replace(tokenRequest(""), "https://p.test/t", "http://[::1]/t", 1)),
	} {
		if _, err := define(text); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
}

// TestIsMultiline checks that a value may have several lines only if it is sent nowhere but in the body
// of a token request.
func TestIsMultiline(t *testing.T) {
	text := strings.Replace(tokenRequest(", parameters: {assertion: \"${key}\", account: \"${account}\"}"),
		"[{id", "[{id: key, display_name: Key, required: true}, {id: account, display_name: Account, required: true}, {id", 1)
	provider, err := define(with(text + "  query_params: [{name: account, value: \"${account}\"}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	static := catalog.Builtin().Provider("pendo").AuthMethods[0]
	if static.IsMultiline(static.Fields[0].ID) {
		t.Error("a static key may have several lines")
	}
	for field, want := range map[string]bool{"key": true, "account": false, "client_id": false, "client_secret": false} {
		if got := provider.AuthMethods[0].IsMultiline(field); got != want {
			t.Errorf("IsMultiline(%s) is %t", field, got)
		}
	}
}

func TestPrivateAddresses(t *testing.T) {
	for text, want := range map[string]bool{"": false, ", allow_private_addresses: false": false, ", allow_private_addresses: true": true} {
		provider, err := define(with(tokenRequest(text)))
		if err != nil {
			t.Fatal(err)
		}
		if got := provider.AuthMethods[0].TokenRequest.AllowPrivateAddresses; got != want {
			t.Errorf("%q: AllowPrivateAddresses is %v", text, got)
		}
	}
	for _, provider := range catalog.Builtin().Providers() {
		for _, method := range provider.AuthMethods {
			if method.TokenRequest != nil && method.TokenRequest.AllowPrivateAddresses {
				t.Errorf("the built-in provider %s allows private addresses", provider.ID)
			}
		}
	}
}

func FuzzDefine(f *testing.F) {
	f.Add(with(fieldA + "  headers: [{name: X, value: \"Bearer ${a}\"}]\n"))
	f.Add(with(tokenRequest(", default_lifetime: 15m, previous_token: ENDED, parameters: {scope: a b}")))
	f.Add("id: p")
	f.Add(withTemplates("${a}.example.com", "${login.url}/${b}?x=${a + b}", true))
	for _, method := range []string{
		clientFields + `  token_request: {method: PUT, url: "https://p.test/${client_id}", body: JSON, client_authentication: BASIC_UNENCODED, grant_type: "", ` +
			`parameters: {site: {id: 5, on: true, none: null}, list: [1, "${client_id}"]}, headers: [{name: x-key, value: "${sha256(client_secret)}"}], ` +
			`client_certificate: {certificate: "${client_id}", private_key: "${client_secret}"}}` + "\n" + bearer,
		fieldA + `  token_request: {url: "https://p.test/", body: FORM, client_authentication: NONE, grant_type: password, parameters: {assertion: "${jwt}", audience: [a, b]}, ` +
			`jwt: {algorithm: ES256, key: "${a}", lifetime: 1m, backdate: 10s, header: {kid: k}, claims: {iss: "${login.id}", list: [{a: 1.5}]}}, ` +
			`first: [{id: login, url: "https://p.test/", body: QUERY, method: GET, parameters: {a: "${a}"}, values: {id: "a\\.b.0", all: BODY, c: {cookie: c}, h: {header: h}}}], ` +
			`response: {token: data.token, expires_at: TOKEN, values: {account: id}, refused: [{statuses: [200], headers: {x: y}, json: {ok: {not: true}}}]}}` + "\n" +
			`  headers: [{name: A, value: "${token} ${response.account}"}]` + "\n",
		fieldA + `  jwt: {algorithm: HS512, key: "${a}", key_encoding: HEX, lifetime: 168h, claims: {}}` + "\n" + `  query_params: [{name: "ä", value: "${jwt}"}]` + "\n",
	} {
		f.Add(with(method))
	}
	f.Fuzz(func(t *testing.T, text string) {
		provider, err := define(text)
		if err != nil {
			return
		}
		if provider.ID == "" || len(provider.AllowedHosts) == 0 || len(provider.AuthMethods) == 0 {
			t.Error("Define reported no problem, but the provider lacks an ID, allowed hosts or auth methods")
		}
		for _, method := range provider.AuthMethods {
			if len(method.Headers)+len(method.QueryParams) == 0 {
				t.Error("Define reported no problem, but an auth method adds nothing to a request")
			}
			if method.TokenRequest != nil && method.TokenRequest.URL.String() == "" {
				t.Error("Define reported no problem, but a token request has no URL")
			}
			for _, placement := range append(slices.Clone(method.Headers), method.QueryParams...) {
				if placement.Value.String() == "" {
					t.Error("Define reported no problem, but a header or query parameter is empty")
				}
			}
		}
		checkJSON(t, provider)
	})
}
