package simulator_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/brokertest/simulator"
)

// TestRequestsWithoutABody sends token requests that differ from what the definition produces, and calls
// that differ from the verification in the method.
func TestRequestsWithoutABody(t *testing.T) {
	sim, client := start(t)
	addAccount(t, sim, method("client_id, client_secret", `token_request: {url: "https://api.example.test/oauth/token", body: NONE, client_authentication: BASIC_UNENCODED, grant_type: "", headers: [{name: X-Version, value: "2"}],
		response: {lifetime: ttl, lifetime_unit: MINUTES, refused: [{json: {ok: false}}]}}, headers: [{name: Authorization, value: "Bearer ${token}"}],
		verification: {method: POST, path: "/me?full=1", answers: [{statuses: [201], outcome: ACCEPTED}]}`),
		simulator.AccountConfig{Values: map[string]string{"client_id": "i d", "client_secret": "s%"}})
	token := ""
	for name, test := range map[string]struct {
		id, version, body string
		issued            bool
	}{
		"as defined":           {"i d", "2", "", true},
		"an encoded client ID": {"i+d", "2", "", false},
		"another header":       {"i d", "3", "", false},
		"a body":               {"i d", "2", "a=b", false},
	} {
		request := post(exampleTokens, "", test.body)
		request.SetBasicAuth(test.id, "s%")
		request.Header.Set("X-Version", test.version)
		answer := do(t, client, request)
		issued, _ := object(t, answer)["access_token"].(string)
		if (issued != "") != test.issued || answer.status != http.StatusOK {
			t.Errorf("%s: the answer has the status %d, and a token: %t", name, answer.status, issued != "")
		}
		if test.issued {
			if token = issued; object(t, answer)["ttl"] != 60.0 {
				t.Errorf("the lifetime is %v, want 60 minutes", object(t, answer)["ttl"])
			}
		} else if object(t, answer)["ok"] != false {
			t.Errorf("%s: the refusal is not the one of the definition", name)
		}
	}
	for call, want := range map[string]int{"POST /me?full=1&more=1": 201, "POST /me": 200, "GET /me?full=1": 200} {
		method, path, _ := strings.Cut(call, " ")
		request := get("https://api.example.test"+path, bearer(token))
		request.Method = method
		if got := do(t, client, request).status; got != want {
			t.Errorf("%s: status = %d, want %d", call, got, want)
		}
	}
}

// TestCallsOfEqualAccounts checks that a call that no account recognises counts for the newest of equal
// accounts, and that the values of an account are among the secrets.
func TestCallsOfEqualAccounts(t *testing.T) {
	sim, client := start(t)
	definition := method("key", `headers: [{name: X-Key, value: "${key}"}]`)
	accounts := []*simulator.Account{addAccount(t, sim, definition, simulator.AccountConfig{}), addAccount(t, sim, definition, simulator.AccountConfig{})}
	do(t, client, get(exampleCall, header("X-Key", "neither")))
	for i, account := range accounts {
		if account.APIRequests() != i {
			t.Errorf("the account %d has %d requests, want %d", i, account.APIRequests(), i)
		}
		if !slices.Contains(sim.Secrets(), account.Values()["key"]) {
			t.Errorf("the key of the account %d is not among the secrets", i)
		}
	}
}

// TestSharedSecretOfAnAccount sends JWTs that are signed with the account's secret, and with another.
func TestSharedSecretOfAnAccount(t *testing.T) {
	clock := clockwork.NewFakeClock()
	now := clock.Now().Unix()
	sim, client := start(t, simulator.WithClock(clock))
	account := addAccount(t, sim, method("key", `jwt: {algorithm: HS256, key: "${key}", lifetime: 1h, claims: {iss: me}}, headers: [{name: X-Token, value: "${jwt}"}]`), simulator.AccountConfig{})
	key := account.Values()["key"]
	for secret, want := range map[string]int{key: 200, strings.Repeat("x", len(key)): 401} {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(secret)}, new(jose.SignerOptions).WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(fmt.Appendf(nil, `{"iss":"me","iat":%d,"exp":%d,"jti":"j"}`, now, now+3600))
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		if got := do(t, client, get(exampleCall, header("X-Token", text))).status; got != want {
			t.Errorf("status = %d, want %d", got, want)
		}
	}
}
