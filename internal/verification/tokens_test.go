package verification_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/verification"
)

// TestTokenRequestFails makes the token endpoint fail. Only a refusal by the endpoint itself means
// that the credential is refused.
func TestTokenRequestFails(t *testing.T) {
	for name, test := range map[string]struct {
		failure simulator.Failure
		outcome catalog.Outcome
		status  int
		words   string
	}{
		"refused":      {simulator.OAuthError(400, "unauthorized_client"), catalog.Refused, 400, "SendPulse refused the credential (HTTP 400, unauthorized_client)."},
		"other code":   {simulator.OAuthError(400, wrong), catalog.Refused, 400, "SendPulse refused the credential (HTTP 400)."},
		"server error": {simulator.ServiceUnavailable(""), catalog.Inconclusive, 503, "SendPulse could not answer the token request (HTTP 503). Try again later."},
		"rate limit":   {simulator.TooManyRequests(""), catalog.Inconclusive, 429, "SendPulse limits the number of requests (HTTP 429)."},
		"slow down":    {simulator.OAuthError(400, "slow_down"), catalog.Inconclusive, 400, "SendPulse limits the number of requests (HTTP 400)."},
		"redirect":     {simulator.Redirect(307), catalog.Inconclusive, 307, "SendPulse answered the token request with a redirect, which is not followed (HTTP 307)."},
		"page":         {simulator.HTMLPage(401), catalog.Inconclusive, 401, "SendPulse answered the token request in a way that neither accepts nor refuses the credential (HTTP 401)."},
		"closed":       {simulator.CloseConnection(), catalog.Inconclusive, 0, "SendPulse cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.sim.SendPulse.FailTokenRequests(test.failure)
			result := w.verify(w.credentials["sendpulse-oauth"], nil)
			w.want(result, test.outcome, test.status, test.words)
			if result.Token != nil || w.sim.SendPulse.APIRequests() != 0 {
				t.Error("the result contains a token, or the API was asked without a token")
			}
		})
	}
}

// TestTheIssuedTokenIsReturned checks that the caller gets the new token even if the API did not
// accept it: the new token may have ended the previous token.
func TestTheIssuedTokenIsReturned(t *testing.T) {
	w := newWorld(t)
	for _, failure := range []simulator.Failure{nil, simulator.ServiceUnavailable(""), simulator.AnswerWith(401, "application/json", "{}")} {
		w.sim.SendPulse.FailAPIRequests(failure)
		issued := w.verify(w.credentials["sendpulse-oauth"], nil).Token
		if issued == nil {
			t.Fatal("the result contains no token")
		}
		w.sim.SendPulse.RestoreAPIRequests()
		w.want(w.verify(w.credentials["sendpulse-oauth"], issued), catalog.Accepted, 200, "SendPulse accepted the current token (HTTP 200).")
	}
	if got := w.sim.SendPulse.TotalTokenRequests(); got != 3 {
		t.Errorf("%d tokens were requested, want 3", got)
	}
	w.sim.SendPulse.FailAPIRequests(simulator.AnswerWith(401, "application/json", "{}"))
	w.want(w.verify(w.credentials["sendpulse-oauth"], nil), catalog.Refused, 401, "SendPulse issued a token, but refused it (HTTP 401).")
}

// TestTheCurrentToken verifies a credential with a current token, which is passed to Verify. The
// outcome must not depend on the client secret.
func TestTheCurrentToken(t *testing.T) {
	w := newWorld(t)
	current := w.verify(w.credentials["sendpulse-oauth"], nil).Token
	const untried = "The client ID and the client secret were not tried."
	result := w.verify(withWrongSecret(w.credentials["sendpulse-oauth"]), current)
	w.want(result, catalog.Accepted, 200, untried)
	if result.Token != nil {
		t.Error("the result contains a token, although no token was issued during the verification")
	}
	w.sim.SendPulse.RevokeTokens()
	w.want(w.verify(w.credentials["sendpulse-oauth"], current), catalog.Inconclusive, 401,
		"SendPulse refused the current token, which may have been revoked (HTTP 401). "+untried)
	if got := w.sim.SendPulse.TotalTokenRequests(); got != 1 {
		t.Errorf("%d tokens were requested, want 1", got)
	}
}

func TestTokenRequestsHaveABudget(t *testing.T) {
	w := newWorld(t)
	for range 100 {
		_, err := w.verifier.Verify(t.Context(), w.credentials["sendpulse-oauth"], nil)
		if err == nil {
			continue
		}
		if limited, ok := errors.AsType[*fault.Error](err); !ok || limited.Reason != fault.RateLimited || limited.RetryDelay <= 0 || limited.RetryDelay > time.Second {
			t.Errorf("the error is %v", err)
		}
		return
	}
	t.Error("the number of token requests is not limited")
}

// TestNoStoreIsNoAnswerOfTheProvider verifies a credential whose refresh token cannot be read.
func TestNoStoreIsNoAnswerOfTheProvider(t *testing.T) {
	w := newWorld(t)
	credential := load(t, `credentials: [{id: c, provider: p, auth_method: m, values: {refresh_token: {value: first}}}]
store: {url: "sqlite:///unused", keys: [{env: KEY}]}
providers:
  - id: p
    display_name: P
    allowed_hosts: [p.example.com]
    auth_methods:
      - id: m
        display_name: M
        fields: [{id: refresh_token, display_name: R, required: true, secret: true}]
        token_request:
          url: https://p.example.com/token
          body: FORM
          client_authentication: NONE
          grant_type: refresh_token
          parameters: {refresh_token: "${refresh_token}"}
          response: {refresh_token: refresh_token}
        headers: [{name: Authorization, value: "Bearer ${token}"}]
        verification: {path: /me, answers: [{statuses: [200], outcome: ACCEPTED}]}
`, func(string) (string, bool) { return fleetkeys.Generate(), true })["c"]
	result, err := w.verifier.Verify(t.Context(), credential, nil)
	if failed, ok := errors.AsType[*fault.Error](err); !ok || failed.Reason != fault.StoreUnavailable {
		t.Errorf("without a store, the result is %+v, and the error is %v, want STORE_UNAVAILABLE", result, err)
	}
}

// TestURLThatCannotBeMade verifies credentials whose values give the verification no URL. No token is
// requested.
func TestURLThatCannotBeMade(t *testing.T) {
	for values, message := range map[string]string{
		"client_id: {value: a}, client_secret: {value: b}":                       "needs a field that is not set",
		"client_id: {value: a}, client_secret: {value: b}, account: {value: ..}": "two dots",
	} {
		requests := 0
		verifier := verification.New(verification.Options{Transport: counting(&requests)})
		credential := load(t, `credentials: [{id: c, provider: p, auth_method: m, values: {`+values+`}}]
providers:
  - id: p
    display_name: P
    allowed_hosts: [p.example.com]
    auth_methods:
      - id: m
        display_name: M
        fields:
        - {id: client_id, display_name: I, required: true}
        - {id: client_secret, display_name: S, required: true, secret: true}
        - {id: account, display_name: A}
        token_request: {url: "https://p.example.com/token", body: FORM, client_authentication: BASIC}
        headers: [{name: Authorization, value: "Bearer ${token}"}]
        verification: {url: "https://p.example.com/${account}/me", answers: [{statuses: [200], outcome: ACCEPTED}]}
`, nil)["c"]
		_, err := verifier.Verify(t.Context(), credential, nil)
		if failed, ok := errors.AsType[*fault.Error](err); !ok || failed.Reason != fault.VerificationUnsupported || !strings.Contains(failed.Message, message) || requests != 0 {
			t.Errorf("with the values %s, %d requests were sent, and the error is %v, want %q", values, requests, err, message)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func counting(requests *int) http.RoundTripper {
	return roundTripper(func(*http.Request) (*http.Response, error) {
		*requests++
		return nil, errors.New("no network")
	})
}
