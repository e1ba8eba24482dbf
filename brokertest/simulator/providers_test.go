package simulator_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/brokertest/simulator"
)

func TestSendPulseUserInfo(t *testing.T) {
	sim, client := start(t)
	revoked := obtain(t, client, sim.SendPulse.Client())
	sim.SendPulse.RevokeTokens()
	token := obtain(t, client, sim.SendPulse.Client())
	for name, test := range map[string]struct {
		header http.Header
		want   int
	}{
		"token":         {bearer(token), 200},
		"static key":    {bearer(sim.SendPulse.APIKey()), 200},
		"nothing":       {nil, 401},
		"unknown token": {bearer("unknown"), 401},
		"empty token":   {bearer(""), 401},
		"revoked token": {bearer(revoked), 401},
		"no scheme":     {header("Authorization", token), 401},
		"twice":         {header("Authorization", "Bearer "+token, "Authorization", "Bearer "+token), 401},
	} {
		t.Run(name, func(t *testing.T) {
			got := do(t, client, get(userInfo, test.header))
			if got.status != test.want {
				t.Errorf("status = %d, want %d", got.status, test.want)
			}
			if test.want == 401 {
				expect(t, got, 401, map[string]any{"message": "Unauthorized!", "error_code": 401.0})
			}
		})
	}
	if got := sim.SendPulse.RecognisedRequests(); got != 2 {
		t.Errorf("the API recognised %d requests, want 2", got)
	}
}

func TestSendPulseRotation(t *testing.T) {
	sim, client := start(t)
	old := sim.SendPulse.Client()
	token := obtain(t, client, old)
	renewed := sim.SendPulse.RotateClientSecret()

	expect(t, do(t, client, tokenRequest(old)), 401, map[string]any{
		"error":             "invalid_client",
		"error_description": "Client authentication failed",
		"message":           "Client authentication failed",
	})
	if renewed == old || renewed != sim.SendPulse.Client() {
		t.Error("after the rotation, Client does not return the new client")
	}
	obtain(t, client, renewed)
	if got := do(t, client, get(userInfo, bearer(token))).status; got != 200 {
		t.Errorf("a token of the old client: status = %d, want 200", got)
	}
}

func TestSendPulseErrors(t *testing.T) {
	sim, client := start(t)
	sim.SendPulse.FailNextAPIRequests(1, simulator.SendPulseForbidden())
	sim.SendPulse.FailNextAPIRequests(1, simulator.SendPulseRateLimited())
	request := get(userInfo, bearer(sim.SendPulse.APIKey()))
	for _, want := range []int{403, 429, 200} {
		got := do(t, client, request)
		if got.status != want || got.header.Get("Retry-After") != "" {
			t.Errorf("status = %d, Retry-After = %q, want status %d and no Retry-After", got.status, got.header.Get("Retry-After"), want)
		}
		if code := object(t, got)["error_code"]; want != 200 && code != float64(want) {
			t.Errorf("error_code = %v, want %d", code, want)
		}
	}
	if got := sim.SendPulse.APIRequests(); got != 3 {
		t.Errorf("%d requests arrived, want 3", got)
	}
}

func TestPulsedive(t *testing.T) {
	sim, client := start(t)
	const api = "https://pulsedive.com/api/indicator.php?"
	key := sim.Pulsedive.Key()
	for name, test := range map[string]struct {
		query      url.Values
		want       int
		recognised int
	}{
		"key":               {url.Values{"indicator": {"pulsedive.com"}, "key": {key}}, 200, 1},
		"anonymous":         {url.Values{"indicator": {"pulsedive.com"}}, 200, 0},
		"unknown key":       {url.Values{"indicator": {"pulsedive.com"}, "key": {"unknown"}}, 401, 0},
		"two keys":          {url.Values{"indicator": {"pulsedive.com"}, "key": {key, key}}, 400, 0},
		"unknown indicator": {url.Values{"indicator": {"other.example"}, "key": {key}}, 404, 1},
		"no indicator":      {url.Values{"key": {key}}, 400, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := sim.Pulsedive.RecognisedRequests()
			got := do(t, client, get(api+test.query.Encode(), nil))
			if got.status != test.want {
				t.Errorf("status = %d, want %d", got.status, test.want)
			}
			if _, failed := object(t, got)["error"]; failed != (test.want != 200) {
				t.Errorf("the answer has an error in its body: %t, although its status is %d", failed, got.status)
			}
			if recognised := sim.Pulsedive.RecognisedRequests() - before; recognised != test.recognised {
				t.Errorf("the API recognised %d requests, want %d", recognised, test.recognised)
			}
		})
	}
}

func TestPulsediveRateLimit(t *testing.T) {
	sim, client := start(t)
	sim.Pulsedive.FailAPIRequests(simulator.PulsediveRateLimited())
	request := get("https://pulsedive.com/api/indicator.php?indicator=pulsedive.com", nil)
	got := do(t, client, request)
	expect(t, got, 429, map[string]any{"error": "API rate limit exceeded: 1 requests per second."})
	for _, unit := range []string{"Second", "Day", "Month"} {
		if got.header.Get("X-Requests-Remaining-"+unit) == "" {
			t.Errorf("X-Requests-Remaining-%s is missing", unit)
		}
	}
	sim.Pulsedive.RestoreAPIRequests()
	if got := do(t, client, request).status; got != 200 {
		t.Errorf("after RestoreAPIRequests: status = %d, want 200", got)
	}
}

func TestPulsediveTAXII(t *testing.T) {
	sim, client := start(t)
	for name, test := range map[string]struct {
		user, password string
		want           int
	}{
		"good":       {"taxii2", sim.Pulsedive.Key(), 200},
		"wrong user": {"taxii", sim.Pulsedive.Key(), 401},
		"wrong key":  {"taxii2", "unknown", 401},
	} {
		t.Run(name, func(t *testing.T) {
			request := get("https://pulsedive.com/taxii2/", nil)
			request.SetBasicAuth(test.user, test.password)
			if got := do(t, client, request).status; got != test.want {
				t.Errorf("status = %d, want %d", got, test.want)
			}
			request.Header.Add("Authorization", request.Header.Get("Authorization"))
			if got := do(t, client, request).status; got != 401 {
				t.Errorf("a key that was sent twice: status = %d, want 401", got)
			}
		})
	}
}

func TestPendoKeysBelongToARegion(t *testing.T) {
	const elsewhere = "us2.app.pendo.test"
	sim, client := start(t, simulator.WithHosts(elsewhere))
	keys := map[string]string{
		"app.pendo.io":    sim.Pendo.Key(),
		"app.eu.pendo.io": sim.Pendo.AddKey("app.eu.pendo.io"),
		elsewhere:         sim.Pendo.AddKey(elsewhere),
	}
	for keyHost, key := range keys {
		for host := range keys {
			got := do(t, client, get("https://"+host+"/api/v1/token/verify", header("x-pendo-integration-key", key)))
			if host == keyHost {
				expect(t, got, 200, map[string]any{"valid": true, "writeAccess": false})
			} else if got.status != 403 || got.body != "" {
				t.Errorf("a request with the key of %s to %s: status = %d and a body of %d bytes, want 403 and an empty body", keyHost, host, got.status, len(got.body))
			}
		}
	}
	got := do(t, client, get("https://app.pendo.io/api/v1/token/verify", nil))
	if got.status != 403 || got.body != "" {
		t.Errorf("a request without a key: status = %d and a body of %d bytes, want 403 and an empty body", got.status, len(got.body))
	}
}

const contractTypes = "https://api.in.spotdraft.com/api/v2.1/public/contract_types"

func TestSpotDraft(t *testing.T) {
	sim, client := start(t)
	account, email := sim.SpotDraft.Client(), sim.SpotDraft.UserEmail()
	unauthenticated := map[string]any{"detail": "Authentication credentials were not provided."}
	forbidden := map[string]any{"detail": "You do not have permission to perform this action."}
	ok := map[string]any{"results": []any{}}
	for name, test := range map[string]struct {
		header http.Header
		status int
		body   map[string]any
	}{
		"client":        {header("client-id", account.ID, "client-secret", account.Secret), 200, ok},
		"with a member": {header("client-id", account.ID, "client-secret", account.Secret, "user-email", email), 200, ok},
		"not a member": {header("client-id", account.ID, "client-secret", account.Secret,
			"user-email", "other@example.test"), 403, forbidden},
		"empty member": {header("client-id", account.ID, "client-secret", account.Secret, "user-email", ""), 403, forbidden},
		"nothing":      {nil, 401, unauthenticated},
		"no secret":    {header("client-id", account.ID), 401, unauthenticated},
		"wrong secret": {header("client-id", account.ID, "client-secret", "wrong"), 401, unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, do(t, client, get(contractTypes+"/", test.header)), test.status, test.body)
		})
	}
}

func TestSpotDraftRedirectsWhereTheSlashIsMissing(t *testing.T) {
	sim, client := start(t)
	account := sim.SpotDraft.Client()
	request := get(contractTypes, header("client-id", account.ID, "client-secret", account.Secret))
	if got := do(t, client, request).status; got != http.StatusFound {
		t.Errorf("status = %d, want 302", got)
	}
	if diff := cmp.Diff(simulator.Leaks{}, sim.Leaks()); diff != "" {
		t.Errorf("leaks of a client that follows no redirects (-want +got):\n%s", diff)
	}

	client.CheckRedirect = nil // follow redirects
	if got := do(t, client, request).status; got != http.StatusOK {
		t.Errorf("after the redirect: status = %d, want 200", got)
	}
	if diff := cmp.Diff(simulator.Leaks{RedirectsFollowed: 1, SecretsRedirected: 1}, sim.Leaks()); diff != "" {
		t.Errorf("leaks of a client that follows redirects (-want +got):\n%s", diff)
	}
}

// TestKeysAreAddedAndRemoved checks that each account can have several secrets at once, and that a
// removed one is rejected.
func TestKeysAreAddedAndRemoved(t *testing.T) {
	sim, client := start(t)
	sendPulse, pulsedive, pendo, spotDraft := sim.SendPulse.AddAPIKey(), sim.Pulsedive.AddKey(), sim.Pendo.AddKey("app.pendo.io"), sim.SpotDraft.AddClient()
	type account struct {
		first, added *http.Request
		remove       func()
		rejected     int
	}
	const indicator, verify = "https://pulsedive.com/api/indicator.php?indicator=pulsedive.com&key=", "https://app.pendo.io/api/v1/token/verify"
	spotDraftHeader := func(c simulator.Client) http.Header { return header("client-id", c.ID, "client-secret", c.Secret) }
	for name, test := range map[string]account{
		"SendPulse": {
			get(userInfo, bearer(sim.SendPulse.APIKey())), get(userInfo, bearer(sendPulse)),
			func() { sim.SendPulse.RemoveAPIKey(sendPulse) }, 401,
		},
		"Pulsedive": {get(indicator+sim.Pulsedive.Key(), nil), get(indicator+pulsedive, nil), func() { sim.Pulsedive.RemoveKey(pulsedive) }, 401},
		"Pendo": {
			get(verify, header("x-pendo-integration-key", sim.Pendo.Key())), get(verify, header("x-pendo-integration-key", pendo)),
			func() { sim.Pendo.RemoveKey(pendo) }, 403,
		},
		"SpotDraft": {
			get(contractTypes+"/", spotDraftHeader(sim.SpotDraft.Client())), get(contractTypes+"/", spotDraftHeader(spotDraft)),
			func() { sim.SpotDraft.RemoveClient(spotDraft) }, 401,
		},
	} {
		if first, added := do(t, client, test.first).status, do(t, client, test.added).status; first != 200 || added != 200 {
			t.Errorf("%s: the statuses of the two secrets are %d and %d, want 200", name, first, added)
		}
		test.remove()
		if first, added := do(t, client, test.first).status, do(t, client, test.added).status; first != 200 || added != test.rejected {
			t.Errorf("%s: after the removal the statuses are %d and %d, want 200 and %d", name, first, added, test.rejected)
		}
	}
	for _, secret := range []string{sendPulse, pulsedive, pendo, spotDraft.Secret} {
		if !slices.Contains(sim.Secrets(), secret) {
			t.Error("Secrets does not list an added secret")
		}
	}
}
