package simulator_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/brokertest/simulator"
)

// method returns the definition of the provider "example", whose only auth method has the given fields
// and keys. A question mark follows the ID of an optional field.
func method(fields, keys string) string {
	var list []string
	for _, field := range strings.Split(fields, ", ") {
		id, optional := strings.CutSuffix(field, "?")
		required := "true"
		if optional {
			required = "false"
		}
		list = append(list, "{id: "+id+", display_name: "+id+", required: "+required+", secret: true}")
	}
	return "{id: example, display_name: Example, allowed_hosts: [api.example.test], auth_methods: [{id: main, display_name: Main, fields: [" +
		strings.Join(list, ", ") + "],\n" + keys + "}]}"
}

func addAccount(t *testing.T, sim *simulator.Simulator, definition string, config simulator.AccountConfig) *simulator.Account {
	t.Helper()
	if err := sim.Define(definition); err != nil {
		t.Fatal(err)
	}
	config.Provider = "example"
	account, err := sim.AddAccount(config)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

const (
	exampleCall = "https://api.example.test/things?page=2"
	static      = `headers: [{name: X-Key, value: "key ${key}"}, {name: X-User, value: "${user}"}, {name: X-Version, value: "2", only_if_absent: true}], query_params: [{name: k, value: "${key}"}]`
)

// TestPlacementOfAnAccount sends API calls that differ from what the definition produces.
func TestPlacementOfAnAccount(t *testing.T) {
	sim, client := start(t)
	account := addAccount(t, sim, method("key, user?", static), simulator.AccountConfig{Values: map[string]string{"key": "k"}})
	for name, test := range map[string]struct {
		query, header string
		want          int
	}{
		"as defined":              {"k=k", "X-Key: key k, X-Version: 2", 200},
		"another version":         {"k=k&more=1", "X-Key: key k, X-Version: 3, X-More: 1", 200},
		"no version":              {"k=k", "X-Key: key k", 401},
		"another key":             {"k=k", "X-Key: key K, X-Version: 2", 401},
		"another parameter":       {"k=K", "X-Key: key k, X-Version: 2", 401},
		"a parameter twice":       {"k=k&k=k", "X-Key: key k, X-Version: 2", 401},
		"no parameter":            {"", "X-Key: key k, X-Version: 2", 401},
		"a query that is none":    {"k=k&%", "X-Key: key k, X-Version: 2", 401},
		"a header that is absent": {"k=k", "X-Key: key k, X-Version: 2, X-User: u", 401},
		"nothing":                 {"", "", 401},
	} {
		t.Run(name, func(t *testing.T) {
			recognised := account.RecognisedRequests()
			request := get("https://api.example.test/things?"+test.query, nil)
			for _, pair := range strings.Split(test.header, ", ") {
				if name, value, found := strings.Cut(pair, ": "); found {
					request.Header.Add(name, value)
				}
			}
			got := do(t, client, request)
			if got.status != test.want || account.RecognisedRequests()-recognised != map[int]int{200: 1}[test.want] {
				t.Errorf("status = %d, want %d", got.status, test.want)
			}
		})
	}
	if account.APIRequests() != 10 {
		t.Errorf("%d API requests are counted, want 10", account.APIRequests())
	}
}

const tokenKeys = `token_request: {url: "https://api.example.test/oauth/token?v=1", body: FORM, client_authentication: BASIC, parameters: {scope: "a b", user: "${user}"}}, headers: [{name: Authorization, value: "Bearer ${token}"}]`

// TestTokenRequestsOfAnAccount sends token requests that differ from what the definition produces.
func TestTokenRequestsOfAnAccount(t *testing.T) {
	sim, client := start(t)
	account := addAccount(t, sim, method("client_id, client_secret, user?", tokenKeys), simulator.AccountConfig{
		Values: map[string]string{"client_id": "i:d", "client_secret": "s"},
	})
	const (
		form  = "application/x-www-form-urlencoded"
		basic = "i%3Ad:s"
		body  = "grant_type=client_credentials&scope=a+b"
	)
	for name, test := range map[string]struct {
		method, url, contentType, basic, body string
		want                                  int
	}{
		"as defined":             {"POST", exampleTokens + "?v=1", form, basic, body, 200},
		"with a character set":   {"POST", exampleTokens + "?v=1", form + "; charset=utf-8", basic, "scope=a+b&grant_type=client_credentials", 200},
		"another method":         {"PUT", exampleTokens + "?v=1", form, basic, body, 401},
		"another query":          {"POST", exampleTokens + "?v=1&v=2", form, basic, body, 401},
		"JSON":                   {"POST", exampleTokens + "?v=1", "application/json", basic, `{"grant_type":"client_credentials","scope":"a b"}`, 401},
		"another content type":   {"POST", exampleTokens + "?v=1", "text/plain", basic, body, 401},
		"another secret":         {"POST", exampleTokens + "?v=1", form, basic + "x", body, 401},
		"a client ID as it is":   {"POST", exampleTokens + "?v=1", form, "i:d:s", body, 401},
		"another scope":          {"POST", exampleTokens + "?v=1", form, basic, body + "+c", 401},
		"a parameter twice":      {"POST", exampleTokens + "?v=1", form, basic, body + "&scope=a+b", 401},
		"a parameter too many":   {"POST", exampleTokens + "?v=1", form, basic, body + "&user=u", 401},
		"a parameter is missing": {"POST", exampleTokens + "?v=1", form, basic, "scope=a+b", 401},
	} {
		t.Run(name, func(t *testing.T) {
			request := post(test.url, test.contentType, test.body)
			request.Method = test.method
			request.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(test.basic)))
			got := do(t, client, request)
			if got.status != test.want {
				t.Errorf("status = %d, want %d", got.status, test.want)
			}
			if token, _ := object(t, got)["access_token"].(string); (do(t, client, get(exampleCall, bearer(token))).status == 200) != (test.want == 200) {
				t.Error("the API does not accept exactly the issued tokens")
			}
		})
	}
	if account.TotalTokenRequests() != 11 || account.RecognisedRequests() != 2 {
		t.Errorf("%d token requests and %d recognised calls are counted, want 11 and 2", account.TotalTokenRequests(), account.RecognisedRequests())
	}
}

// TestJSONRequestsOfAnAccount sends token requests whose body in JSON differs from what the definition
// produces.
func TestJSONRequestsOfAnAccount(t *testing.T) {
	sim, client := start(t)
	addAccount(t, sim, method("key, user?", `token_request: {url: "https://api.example.test/oauth/token", body: JSON, client_authentication: NONE, grant_type: "", parameters: {key: "${key}", user: "${user}", site: {id: 5, names: [a, true]}}}, headers: [{name: Authorization, value: "Bearer ${token}"}]`),
		simulator.AccountConfig{Values: map[string]string{"key": "k"}})
	for body, want := range map[string]int{
		`{"site":{"names":["a",true],"id":5.0},"key":"k"}`:          200,
		`{"site":{"names":["a",true],"id":"5"},"key":"k"}`:          401,
		`{"site":{"names":["a"],"id":5},"key":"k"}`:                 401,
		`{"site":{"names":["a",true],"id":5},"key":"K"}`:            401,
		`{"site":{"names":["a",true],"id":5},"key":"k","user":""}`:  401,
		`{"site":{"names":["a",true],"id":5},"key":"k"}{"key":"k"}`: 401,
	} {
		if got := do(t, client, post(exampleTokens, "application/json", body)).status; got != want {
			t.Errorf("%s: status = %d, want %d", body, got, want)
		}
	}
}

// TestAnswersOfAnAccount checks that an answer has what the definition locates in it, and that the first
// description of a verification's answer that matches is the one that counts.
func TestAnswersOfAnAccount(t *testing.T) {
	clock := clockwork.NewFakeClock()
	sim, client := start(t, simulator.WithClock(clock))
	addAccount(t, sim, method("key", `token_request: {url: "https://api.example.test/oauth/token", body: NONE, client_authentication: NONE, grant_type: "", headers: [{name: X-Key, value: "${key}"}], response: {expires_at: data.until, values: {csrf: data.csrf}}},
		headers: [{name: Authorization, value: "Bearer ${token}"}, {name: X-Csrf, value: "${response.csrf}"}], verification: {path: /me, answers: [{statuses: [401], json: {}, outcome: INCONCLUSIVE}, {statuses: [401], outcome: REFUSED}]}`),
		simulator.AccountConfig{Values: map[string]string{"key": "k"}})
	request := post(exampleTokens, "", "")
	request.Header.Set("X-Key", "k")
	data, _ := object(t, do(t, client, request))["data"].(map[string]any)
	if want := clock.Now().Add(simulator.DefaultTokenLifetime).UTC().Format(time.RFC3339); data["until"] != want {
		t.Errorf("the token expires at %v, want %s", data["until"], want)
	}
	if csrf, _ := data["csrf"].(string); !slices.Contains(sim.Secrets(), csrf) {
		t.Errorf("the value %q, which authenticates calls, is not among the secrets", csrf)
	}
	if got := do(t, client, get("https://api.example.test/me", nil)); got.status != 401 || strings.HasPrefix(got.body, "{") {
		t.Errorf("the refusal has status %d and the body %q, want 401 and a body that is not JSON", got.status, got.body)
	}
}

func TestTokensOfAnAccountEnd(t *testing.T) {
	clock := clockwork.NewFakeClock()
	sim, client := start(t, simulator.WithClock(clock))
	definition := method("key", `token_request: {url: "https://api.example.test/oauth/token", body: FORM, client_authentication: NONE, grant_type: "", parameters: {key: "${key}"}, previous_token: ENDED, default_lifetime: 10m}, headers: [{name: Authorization, value: "Bearer ${token}"}]`)
	account := addAccount(t, sim, definition, simulator.AccountConfig{Values: map[string]string{"key": "k"}})
	issue := func() string {
		t.Helper()
		token, _ := object(t, do(t, client, postForm(url.Values{"key": {"k"}})))["access_token"].(string)
		return token
	}
	wantStatus := func(token string, want int) {
		t.Helper()
		if got := do(t, client, get(exampleCall, bearer(token))).status; got != want {
			t.Errorf("status = %d, want %d", got, want)
		}
	}
	first := issue()
	clock.Advance(10*time.Minute - 1)
	wantStatus(first, 200)
	clock.Advance(1)
	wantStatus(first, 401)
	account.SetTokenLifetime(time.Minute)
	second := issue()
	wantStatus(second, 200)
	third := issue()
	wantStatus(second, 401)
	wantStatus(third, 200)
	account.RejectKey()
	wantStatus(third, 200)
	if issue() != "" {
		t.Error("a token was issued for a rejected key")
	}
	account.RevokeTokens()
	wantStatus(third, 401)
}

func TestRefreshTokensRotate(t *testing.T) {
	sim, client := start(t)
	definition := method("refresh_token", `token_request: {url: "https://api.example.test/oauth/token", body: FORM, client_authentication: NONE, grant_type: refresh_token, parameters: {refresh_token: "${refresh_token}"}, response: {refresh_token: next.token}}, headers: [{name: Authorization, value: "Bearer ${token}"}]`)
	account := addAccount(t, sim, definition, simulator.AccountConfig{})
	refresh := func(token string) response {
		return do(t, client, postForm(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}))
	}
	first := account.Values()["refresh_token"]
	answer := refresh(first)
	next, _ := object(t, answer)["next"].(map[string]any)
	if answer.status != 200 || next["token"] == first || next["token"] != account.Values()["refresh_token"] {
		t.Fatalf("status = %d; the refresh token of the account must be that of the answer", answer.status)
	}
	if got := refresh(first).status; got != 401 {
		t.Errorf("a used refresh token: status = %d, want 401", got)
	}
	if got := refresh(account.Values()["refresh_token"]).status; got != 200 {
		t.Errorf("the next refresh token: status = %d, want 200", got)
	}
}

func TestFailuresOfAnAccount(t *testing.T) {
	sim, client := start(t)
	account := addAccount(t, sim, method("client_id, client_secret", `token_request: {url: "https://api.example.test/oauth/token", body: FORM, client_authentication: REQUEST_BODY}, headers: [{name: Authorization, value: "Bearer ${token}"}]`),
		simulator.AccountConfig{Values: map[string]string{"client_id": "i", "client_secret": "s"}})
	request := postForm(url.Values{"grant_type": {"client_credentials"}, "client_id": {"i"}, "client_secret": {"s"}})
	account.FailNextTokenRequests(1, simulator.ForClient("i", simulator.ServiceUnavailable("")))
	for _, want := range []int{503, 200} {
		if got := do(t, client, request).status; got != want {
			t.Errorf("the token request: status = %d, want %d", got, want)
		}
	}
	account.FailAPIRequests(simulator.TooManyRequests(""))
	if got := do(t, client, get(exampleCall, nil)).status; got != http.StatusTooManyRequests {
		t.Errorf("the API call: status = %d, want 429", got)
	}
}

// TestHandlersTakePrecedenceOverAccounts adds a handler for a part of an account's API, and accounts at a
// provider that has a simulation of its own.
func TestHandlersTakePrecedenceOverAccounts(t *testing.T) {
	sim, client := start(t)
	account := addAccount(t, sim, method("key", `headers: [{name: X-Key, value: "${key}"}]`), simulator.AccountConfig{Values: map[string]string{"key": "k"}})
	api := sim.Expect("GET api.example.test/things", account.Accepts)
	do(t, client, get(exampleCall, header("X-Key", "k")))
	do(t, client, get(exampleCall, header("X-Key", "K")))
	do(t, client, get("https://api.example.test/others", header("X-Key", "k")))
	if api.APIRequests() != 2 || api.RecognisedRequests() != 1 || account.APIRequests() != 1 {
		t.Errorf("the handler received %d requests, of which it recognised %d, and the account received %d; want 2, 1 and 1",
			api.APIRequests(), api.RecognisedRequests(), account.APIRequests())
	}
	pendo, err := sim.AddAccount(simulator.AccountConfig{Provider: "pendo"})
	if err != nil {
		t.Fatal(err)
	}
	const verify = "https://app.pendo.io/api/v1/token/verify"
	for name, test := range map[string]struct {
		key  string
		want int
	}{
		"own":     {sim.Pendo.Key(), 200},
		"account": {pendo.Values()["api_key"], 200},
		"neither": {"wrong", 403},
	} {
		if got := do(t, client, get(verify, header("x-pendo-integration-key", test.key))).status; got != test.want {
			t.Errorf("%s: status = %d, want %d", name, got, test.want)
		}
	}
	if pendo.RecognisedRequests() != 1 || sim.Pendo.RecognisedRequests() != 1 {
		t.Error("each of the two must recognise its own key")
	}
}

func TestAccountsThatCannotBeAdded(t *testing.T) {
	sim, _ := start(t)
	if err := sim.Define("{id: example, display_name: Example, allowed_hosts: [api.example.test], auth_methods: [], more: 1}"); err == nil ||
		!strings.Contains(err.Error(), "definition:1:") {
		t.Errorf("the error of a definition with a problem is %v", err)
	}
	insecure := method("key", `token_request: {url: "http://127.0.0.1/token", body: FORM, client_authentication: NONE, parameters: {key: "${key}"}}, headers: [{name: X, value: "${token}"}]`)
	if err := sim.Define(insecure); err != nil {
		t.Fatal(err)
	}
	for want, config := range map[string]simulator.AccountConfig{
		`there is no provider "nobody"`:                 {Provider: "nobody"},
		"set AuthMethod to an auth method of sendpulse": {Provider: "sendpulse"},
		`has no field "key"`:                            {Provider: "pendo", Values: map[string]string{"key": "k"}},
		"is not https":                                  {Provider: "example"},
	} {
		if _, err := sim.AddAccount(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}
