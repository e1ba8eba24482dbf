package brokertest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/brokertest/simulator"
)

// TestProvidersFromYAMLAlone checks that providers defined without Go code accept the broker's
// decorations.
func TestProvidersFromYAMLAlone(t *testing.T) {
	for name, test := range map[string]struct {
		method  string // YAML of the auth method, without the keys id, display_name and fields
		fields  string // IDs of the auth method's fields; a question mark follows the ID of an optional field
		values  map[string]string
		accepts func(r *http.Request) bool
	}{
		"a header": {
			method:  `headers: [{name: X-Api-Key, value: "${key}"}]`,
			fields:  "key",
			values:  map[string]string{"key": "k"},
			accepts: func(r *http.Request) bool { return r.Header.Get("X-Api-Key") == "k" },
		},
		"a header with a prefix": {
			method:  `headers: [{name: Authorization, value: "Token token=${key}"}]`,
			fields:  "key",
			values:  map[string]string{"key": "k"},
			accepts: func(r *http.Request) bool { return r.Header.Get("Authorization") == "Token token=k" },
		},
		"a query parameter": {
			method:  `query_params: [{name: api key, value: "${key}"}]`,
			fields:  "key",
			values:  map[string]string{"key": "k&l=m n"},
			accepts: func(r *http.Request) bool { return r.URL.Query().Get("api key") == "k&l=m n" },
		},
		"Basic": {
			method: `headers: [{name: Authorization, value: "Basic ${base64(user + ':' + password)}"}]`,
			fields: "user, password",
			values: map[string]string{"user": "ann", "password": "pä:ss"},
			accepts: func(r *http.Request) bool {
				user, password, ok := r.BasicAuth()
				return ok && user == "ann" && password == "pä:ss"
			},
		},
		"Basic with a fixed user": {
			method: `headers: [{name: Authorization, value: "Basic ${base64('taxii2:' + key)}"}]`,
			fields: "key",
			values: map[string]string{"key": "k"},
			accepts: func(r *http.Request) bool {
				user, password, ok := r.BasicAuth()
				return ok && user == "taxii2" && password == "k"
			},
		},
		"several headers": {
			method: `headers: [{name: X-Account, value: "${account}"}, {name: X-Key, value: "${key}"}, {name: X-Api, value: "2"}]`,
			fields: "account, key",
			values: map[string]string{"account": "a", "key": "k"},
			accepts: func(r *http.Request) bool {
				return r.Header.Get("X-Account") == "a" && r.Header.Get("X-Key") == "k" && r.Header.Get("X-Api") == "2"
			},
		},
		"an optional header that is set": {
			method:  `headers: [{name: X-Key, value: "${key}"}, {name: X-User, value: "user ${user}"}]`,
			fields:  "key, user?",
			values:  map[string]string{"key": "k", "user": "u"},
			accepts: func(r *http.Request) bool { return r.Header.Get("X-User") == "user u" },
		},
		"an optional header that is not": {
			method:  `headers: [{name: X-Key, value: "${key}"}, {name: X-User, value: "user ${user}"}]`,
			fields:  "key, user?",
			values:  map[string]string{"key": "k"},
			accepts: func(r *http.Request) bool { return r.Header.Get("X-Key") == "k" && r.Header.Values("X-User") == nil },
		},
		"a default for an optional field": {
			method:  `headers: [{name: X-Key, value: "${key}"}, {name: X-Region, value: "${region.orValue('eu')}"}]`,
			fields:  "key, region?",
			values:  map[string]string{"key": "k"},
			accepts: func(r *http.Request) bool { return r.Header.Get("X-Region") == "eu" },
		},
		"a key half in a header and half in the query": {
			method: `{headers: [{name: X-Key-ID, value: "${id}"}], query_params: [{name: secret, value: "${key}"}]}`,
			fields: "id, key",
			values: map[string]string{"id": "i", "key": "k"},
			accepts: func(r *http.Request) bool {
				return r.Header.Get("X-Key-ID") == "i" && r.URL.Query().Get("secret") == "k"
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, brokertest.WithProvider(definition(test.method, test.fields)),
				brokertest.WithCredentials(brokertest.Credential{ID: "mine", Provider: "example", AuthMethod: "main", Values: test.values}))
			api := h.Simulator.Expect("GET api.example.test/things", test.accepts)
			if status := h.call("https://api.example.test/things?page=2", h.get("mine")); status != http.StatusOK || api.RecognisedRequests() != 1 {
				t.Errorf("the provider answers %d", status)
			}
		})
	}
}

// definition returns the YAML of a provider with one auth method.
func definition(method, fields string) string {
	var list []string
	for _, field := range strings.Split(fields, ", ") {
		id, optional := strings.CutSuffix(field, "?")
		required := map[bool]string{true: "false", false: "true"}[optional]
		list = append(list, "{id: "+id+", display_name: "+id+", required: "+required+", secret: true}")
	}
	method = strings.TrimSuffix(strings.TrimPrefix(method, "{"), "}")
	return `{id: example, display_name: Example, allowed_hosts: [api.example.test], auth_methods: [
		{id: main, display_name: Main, fields: [` + strings.Join(list, ", ") + `], ` + method + `}]}`
}

// TestClientCredentialsFromYAMLAlone defines auth methods that request tokens, without Go code.
func TestClientCredentialsFromYAMLAlone(t *testing.T) {
	for name, test := range map[string]struct {
		request string // YAML of the section token_request, without the key `url`
		rules   simulator.TokenRules
	}{
		"JSON": {
			"body: JSON, client_authentication: REQUEST_BODY",
			simulator.TokenRules{Body: simulator.JSONBody},
		},
		"form": {
			"body: FORM, client_authentication: REQUEST_BODY",
			simulator.TokenRules{Body: simulator.FormBody},
		},
		"form with Basic": {
			"body: FORM, client_authentication: BASIC",
			simulator.TokenRules{Body: simulator.FormBody, ClientAuthentication: simulator.Basic},
		},
		"JSON with Basic": {
			"body: JSON, client_authentication: BASIC",
			simulator.TokenRules{Body: simulator.JSONBody, ClientAuthentication: simulator.Basic},
		},
		"extra parameters": {
			`body: FORM, client_authentication: BASIC, parameters: {scope: "read:a write:b", audience: "https://${tenant}.example.test/", resource: "${region.orValue('eu')}"}`,
			simulator.TokenRules{
				Body: simulator.FormBody, ClientAuthentication: simulator.Basic,
				Parameters: map[string]string{"scope": "read:a write:b", "audience": "https://acme.example.test/", "resource": "eu"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			method := `token_request: {url: "https://api.example.test/token", ` + test.request + `}, headers: [{name: Authorization, value: "Bearer ${token}"}, {name: X-Tenant, value: "${tenant}"}, {name: X-Region, value: "${region}"}]`
			h := newHarness(t, brokertest.WithProvider(definition(method, "client_id, client_secret, tenant, region?")),
				brokertest.WithCredentials(brokertest.Credential{
					ID: "mine", Provider: "example", AuthMethod: "main",
					Values: map[string]string{"client_id": "id:&=", "client_secret": `s:&=%+"`, "tenant": "acme"},
				}))
			tokens := h.Simulator.HandleTokens("POST api.example.test/token", test.rules)
			tokens.AddClient(simulator.Client{ID: "id:&=", Secret: `s:&=%+"`})
			h.Simulator.Expect("GET api.example.test/things", func(r *http.Request) bool {
				return tokens.Accepts(r) && r.Header.Get("X-Tenant") == "acme"
			})
			if status := h.call("https://api.example.test/things", h.get("mine")); status != http.StatusOK {
				t.Errorf("the provider answers %d", status)
			}
		})
	}
}

func TestOwnDefinitionReplacesABuiltIn(t *testing.T) {
	option, log := logged()
	h := newHarness(t, option, brokertest.WithConfig(`
credentials:
  - {id: mine, provider: pendo, auth_method: new_way, values: {key: {value: k}}}
providers:
  - id: pendo
    display_name: Pendo of the future
    allowed_hosts: [api.example.test]
    auth_methods:
      - id: new_way
        display_name: New way
        rejected_statuses: []
        fields: [{id: key, display_name: Key, required: true, secret: true}]
        headers: [{name: X-New, value: "${key}"}]
`))
	got := h.get("mine")
	if got.GetHeaders()[0].GetName() != "X-New" || got.GetAllowedHosts()[0] != "api.example.test" || len(got.GetRejectedStatuses()) != 0 {
		t.Error("the definition in the configuration file is ignored")
	}
	if !strings.Contains(log.String(), `"the configuration replaces a built-in provider" provider=pendo`) {
		t.Errorf("the log does not mention that the definition is overridden: %s", log)
	}
}

func TestPreviousTokenThatIsEnded(t *testing.T) {
	method := `token_request: {url: "https://api.example.test/token", body: FORM, client_authentication: BASIC, previous_token: ENDED}, headers: [{name: Authorization, value: "Bearer ${token}"}]`
	h := newHarness(t, brokertest.WithProvider(definition(method, "client_id, client_secret")),
		brokertest.WithCredentials(brokertest.Credential{
			ID: "mine", Provider: "example", AuthMethod: "main", Values: map[string]string{"client_id": "i", "client_secret": "s"},
		}))
	tokens := h.Simulator.HandleTokens("POST api.example.test/token", simulator.TokenRules{ClientAuthentication: simulator.Basic})
	tokens.SetEndsPreviousToken(true)
	tokens.AddClient(simulator.Client{ID: "i", Secret: "s"})
	h.Simulator.Expect("GET api.example.test/things", tokens.Accepts)
	first := h.get("mine")
	second := h.wantReport("mine", first.GetVersion(), 401, replaced)
	if status := h.call("https://api.example.test/things", first); status != http.StatusUnauthorized {
		t.Fatalf("the simulator answers %d to a request with a token that it revoked", status)
	}
	// A caller that still has the first token reports it, gets the second, and retries once.
	if version := h.wantReport("mine", first.GetVersion(), 401, alreadyReplaced); version != second {
		t.Error("the answer to a report of an old version is not the current version")
	}
	if status := h.call("https://api.example.test/things", h.get("mine")); status != http.StatusOK {
		t.Errorf("the provider answers %d", status)
	}
	if refresh, expire := h.get("mine").GetRefreshTime().AsTime(), h.get("mine").GetExpireTime().AsTime(); !refresh.After(expire) {
		t.Error("the refresh time tells callers to ask before the broker renews the token")
	}
}
