package simulator_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/brokertest/simulator"
)

func TestTokenAnswer(t *testing.T) {
	sim, client := start(t)
	got := do(t, client, tokenRequest(sim.SendPulse.Client()))
	body := object(t, got)
	token, _ := body["access_token"].(string)
	delete(body, "access_token")
	got.body = `{"token_type":"Bearer","expires_in":3600}`
	expect(t, got, 200, body)

	if parts := strings.Split(token, "."); len(parts) != 3 || len(token) < 800 || len(token) > 1300 {
		t.Errorf("the token has %d bytes and %d parts, want a JWT of about 1 KB", len(token), len(parts))
	}
	header, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	if want := `{"alg":"RS256","typ":"JWT"}`; string(header) != want {
		t.Errorf("the token's header is %s, want %s", header, want)
	}
	if again := obtain(t, client, sim.SendPulse.Client()); again == token {
		t.Error("two requests yielded the same token")
	}
}

func TestTokenRequestFormats(t *testing.T) {
	good := url.Values{"grant_type": {"client_credentials"}, "client_id": {"id"}, "client_secret": {"s"}}
	asJSON := func(form url.Values) *http.Request {
		parameters := make(map[string]any)
		for name, values := range form {
			parameters[name] = values[0]
		}
		return postJSON(exampleTokens, parameters)
	}
	with := func(name string, values ...string) url.Values {
		changed := url.Values{name: values}
		for name, values := range good {
			if !changed.Has(name) {
				changed[name] = values
			}
		}
		return changed
	}
	form, json := simulator.TokenRules{Body: simulator.FormBody}, simulator.TokenRules{Body: simulator.JSONBody}
	scoped := simulator.TokenRules{Parameters: map[string]string{"scope": "read write"}}
	for name, test := range map[string]struct {
		rules   simulator.TokenRules
		request *http.Request
		error   string
	}{
		"JSON where either will do": {simulator.TokenRules{}, asJSON(good), ""},
		"form where either will do": {simulator.TokenRules{}, postForm(good), ""},
		"form for a form":           {form, postForm(good), ""},
		"JSON for a form":           {form, asJSON(good), "invalid_request"},
		"JSON for JSON":             {json, asJSON(good), ""},
		"form for JSON":             {json, postForm(good), "invalid_request"},
		"JSON that is cut":          {json, post(exampleTokens, "application/json", `{"grant_type":`), "invalid_request"},
		"no strings":                {json, post(exampleTokens, "application/json", `{"client_id":1}`), "invalid_request"},
		"a form that is none":       {form, post(exampleTokens, "application/x-www-form-urlencoded", "%"), "invalid_request"},
		"a parameter twice":         {form, postForm(with("client_id", "id", "id")), "invalid_request"},
		"another grant":             {form, postForm(with("grant_type", "password")), "unsupported_grant_type"},
		"an unknown client":         {form, postForm(with("client_id", "other")), "invalid_client"},
		"a wrong secret":            {form, postForm(with("client_secret", "other")), "invalid_client"},
		"the scope":                 {scoped, postForm(with("scope", "read write")), ""},
		"no scope":                  {scoped, postForm(good), "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			sim, client := start(t)
			endpoint := sim.HandleTokens(examplePattern, test.rules)
			endpoint.AddClient(simulator.Client{ID: "id", Secret: "s"})
			got := do(t, client, test.request)
			want := map[string]int{"": 200, "invalid_client": 401}[test.error]
			if want == 0 {
				want = 400
			}
			code, _ := object(t, got)["error"].(string)
			if got.status != want || code != test.error {
				t.Errorf("got status %d and error %q, want %d and %q", got.status, code, want, test.error)
			}
		})
	}
}

func TestBasicClientAuthenticationIsFormEncodedFirst(t *testing.T) {
	sim, client := start(t)
	endpoint := sim.HandleTokens(examplePattern,
		simulator.TokenRules{Body: simulator.FormBody, ClientAuthentication: simulator.Basic})
	account := endpoint.AddClient(simulator.Client{ID: "a:b c", Secret: "100%+/é"})
	api := sim.Expect("GET api.example.test/me", endpoint.Accepts)

	request := postForm(url.Values{"grant_type": {"client_credentials"}})
	request.SetBasicAuth(account.ID, account.Secret)
	got := do(t, client, request)
	if got.status != 401 || got.header.Get("WWW-Authenticate") == "" {
		t.Errorf("a request whose client ID and secret are not encoded: status = %d, WWW-Authenticate = %q, want 401 and a WWW-Authenticate header",
			got.status, got.header.Get("WWW-Authenticate"))
	}
	request = postForm(url.Values{"grant_type": {"client_credentials"}})
	request.SetBasicAuth(url.QueryEscape(account.ID), url.QueryEscape(account.Secret))
	got = do(t, client, request)
	token, _ := object(t, got)["access_token"].(string)
	if got.status != 200 || endpoint.TokenRequests(account.ID) != 1 {
		t.Errorf("a request whose client ID and secret are encoded: status = %d after %d requests of the client, want 200 after 1", got.status, endpoint.TokenRequests(account.ID))
	}
	do(t, client, get("https://api.example.test/me", bearer(token)))
	if api.RecognisedRequests() != 1 {
		t.Error("the API does not accept the token")
	}
}

func TestTokensExpire(t *testing.T) {
	clock := clockwork.NewFakeClock()
	sim, client := start(t, simulator.WithClock(clock))
	sim.SendPulse.SetTokenLifetime(5 * time.Minute)
	got := do(t, client, tokenRequest(sim.SendPulse.Client()))
	if lifetime := object(t, got)["expires_in"]; lifetime != 300.0 {
		t.Errorf("expires_in = %v, want 300", lifetime)
	}
	token := bearer(object(t, got)["access_token"].(string))
	clock.Advance(5*time.Minute - 1)
	if got := do(t, client, get(userInfo, token)).status; got != 200 {
		t.Errorf("before the token expires: status = %d, want 200", got)
	}
	clock.Advance(1)
	if got := do(t, client, get(userInfo, token)).status; got != 401 {
		t.Errorf("when the token expires: status = %d, want 401", got)
	}
}

func TestANewTokenKeepsOrEndsThePreviousOne(t *testing.T) {
	sim, client := start(t)
	other := sim.SendPulse.AddClient(simulator.Client{})
	accepted := func(token string) bool {
		return do(t, client, get(userInfo, bearer(token))).status == http.StatusOK
	}
	first := obtain(t, client, sim.SendPulse.Client())
	others := obtain(t, client, other)
	second := obtain(t, client, sim.SendPulse.Client())
	if !accepted(first) || !accepted(second) {
		t.Error("by default, a new token revokes the previous token")
	}
	sim.SendPulse.SetEndsPreviousToken(true)
	third := obtain(t, client, sim.SendPulse.Client())
	if accepted(first) || accepted(second) || !accepted(third) || !accepted(others) {
		t.Error("the revoked tokens are not exactly the earlier tokens of the client")
	}
}

func TestATokenBelongsToItsClient(t *testing.T) {
	clock := clockwork.NewFakeClock()
	sim, client := start(t, simulator.WithClock(clock))
	one, other := sim.SendPulse.Client(), sim.SendPulse.AddClient(simulator.Client{})
	clientOf := func(token string) string { return sim.SendPulse.ClientOf(get(userInfo, bearer(token))) }
	ones, others := obtain(t, client, one), obtain(t, client, other)
	if clientOf(ones) != one.ID || clientOf(others) != other.ID {
		t.Error("ClientOf does not return the client that obtained the token")
	}
	if got := clientOf("none"); got != "" {
		t.Errorf("ClientOf returns %q for a text that is not a token", got)
	}
	clock.Advance(simulator.DefaultTokenLifetime)
	if got := clientOf(ones); got != "" {
		t.Errorf("ClientOf returns %q for an expired token", got)
	}
}

func TestASecretIsReplacedAndAClientRemoved(t *testing.T) {
	sim, client := start(t)
	old := sim.SendPulse.AddClient(simulator.Client{})
	renewed := sim.SendPulse.AddClient(simulator.Client{ID: old.ID})
	if got := do(t, client, tokenRequest(old)).status; got != 401 {
		t.Errorf("a request with the old secret: status = %d, want 401", got)
	}
	obtain(t, client, renewed)
	sim.SendPulse.RemoveClient(old.ID)
	if got := do(t, client, tokenRequest(renewed)).status; got != 401 {
		t.Errorf("a request of a removed client: status = %d, want 401", got)
	}
	if got := sim.SendPulse.TokenRequests(old.ID); got != 3 {
		t.Errorf("%d requests of the client, want 3", got)
	}
	if got := sim.SendPulse.TokenRequests(sim.SendPulse.Client().ID); got != 0 {
		t.Errorf("%d requests of another client, want 0", got)
	}
}

func TestASecretIsRotated(t *testing.T) {
	sim, client := start(t)
	former := sim.SendPulse.AddClient(simulator.Client{})
	rotated, end := sim.SendPulse.RotateSecret(former.ID)
	if rotated.ID != former.ID || rotated.Secret == former.Secret {
		t.Fatal("the client must have the same ID and another secret after the rotation")
	}
	accepts := func(token string) bool { return sim.SendPulse.Accepts(get(userInfo, bearer(token))) }
	formers, rotateds := obtain(t, client, former), obtain(t, client, rotated)
	others := obtain(t, client, sim.SendPulse.Client())
	if !accepts(formers) || !accepts(rotateds) {
		t.Error("while both secrets are valid, a token that was issued for one of them is not accepted")
	}
	end()
	if got := do(t, client, tokenRequest(former)).status; got != 401 {
		t.Errorf("a request with the old secret: status = %d, want 401", got)
	}
	if accepts(formers) || !accepts(rotateds) || !accepts(others) {
		t.Error("the revoked tokens are not exactly the tokens that were issued for the old secret")
	}
	obtain(t, client, rotated)
}

func TestWhenATokenEnds(t *testing.T) {
	clock := clockwork.NewFakeClock()
	sim, client := start(t, simulator.WithClock(clock))
	account := sim.SendPulse.Client()
	tokenOf := func(token string) simulator.Token {
		t.Helper()
		got, ok := sim.SendPulse.TokenOf(get(userInfo, bearer(token)))
		if !ok {
			t.Error("TokenOf does not know a token that has expired or was revoked")
		}
		return got
	}
	first := obtain(t, client, account)
	expires := clock.Now().Add(simulator.DefaultTokenLifetime)
	if got, want := tokenOf(first), (simulator.Token{ClientID: account.ID, ExpireTime: expires, EndTime: expires}); got != want {
		t.Errorf("the token is %+v, want %+v", got, want)
	}
	clock.Advance(simulator.DefaultTokenLifetime)
	second := obtain(t, client, account)
	sim.SendPulse.RevokeTokens()
	if got := tokenOf(first).EndTime; !got.Equal(expires) {
		t.Errorf("the EndTime of an expired token is %v, want %v", got, expires)
	}
	if got := tokenOf(second); !got.EndTime.Equal(clock.Now()) || got.ExpireTime != clock.Now().Add(simulator.DefaultTokenLifetime) {
		t.Errorf("a revoked token has the EndTime %v and the ExpireTime %v", got.EndTime, got.ExpireTime)
	}
	if _, ok := sim.SendPulse.TokenOf(get(userInfo, bearer("none"))); ok {
		t.Error("TokenOf accepts a text that is not a token")
	}
}

func TestHoldTokenAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, client := startInProcess(t)
		release := sim.SendPulse.HoldTokenAnswers()
		first := begin(t, client, tokenRequest(sim.SendPulse.Client()))
		await(t, sim.SendPulse.TokenEndpoint, 1)
		releaseSecond := sim.SendPulse.HoldTokenAnswers()
		second := begin(t, client, tokenRequest(sim.SendPulse.Client()))
		await(t, sim.SendPulse.TokenEndpoint, 2)

		synctest.Wait()
		if len(first) != 0 || len(second) != 0 {
			t.Fatal("an answer was sent although it was held back")
		}
		release()
		release()
		synctest.Wait()
		if len(first) != 1 || len(second) != 0 {
			t.Fatal("the first call of release did not send exactly the answers that the first call of HoldTokenAnswers held back")
		}
		third := begin(t, client, tokenRequest(sim.SendPulse.Client()))
		synctest.Wait()
		if len(third) != 0 {
			t.Fatal("the first call of release also sent an answer that the second call of HoldTokenAnswers held back")
		}
		releaseSecond()
		synctest.Wait()
		if len(second) != 1 || len(third) != 1 {
			t.Fatal("the call of releaseSecond did not send the answers that the second call of HoldTokenAnswers held back")
		}
		obtain(t, client, sim.SendPulse.Client()) // answers to later requests are not held back
	})
}

func TestLaterChangesDoNotAffectAnArrivedRequest(t *testing.T) {
	sim, client := start(t)
	release := sim.SendPulse.HoldTokenAnswers()
	answers := begin(t, client, tokenRequest(sim.SendPulse.Client()))
	await(t, sim.SendPulse.TokenEndpoint, 1)
	sim.SendPulse.FailTokenRequests(simulator.EmptyBody())
	sim.SendPulse.RotateClientSecret()
	sim.SendPulse.RevokeTokens() // RevokeTokens also revokes tokens whose answers are still held back
	release()
	got := <-answers
	token, _ := object(t, got)["access_token"].(string)
	if got.status != 200 || token == "" {
		t.Errorf("status = %d, want 200 and a token", got.status)
	}
	if got := do(t, client, get(userInfo, bearer(token))).status; got != 401 {
		t.Errorf("a token that was revoked before its answer was sent: status = %d, want 401", got)
	}
}

func TestAClientThatGivesUpIsNotHeld(t *testing.T) {
	sim, client := start(t)
	release := sim.SendPulse.HoldTokenAnswers()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := send(client, tokenRequest(sim.SendPulse.Client()).WithContext(ctx))
		failed <- err
	}()
	await(t, sim.SendPulse.TokenEndpoint, 1)
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the error of the client's context", err)
	}
}

func TestAwaitTokenRequestsEndsWithItsContext(t *testing.T) {
	sim, _ := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sim.SendPulse.AwaitTokenRequests(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the error of the context", err)
	}
}
