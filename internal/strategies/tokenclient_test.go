package strategies_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const canary = "canary-51c7"

// sendPulse returns a credential whose material contains a token.
func sendPulse(clientID, clientSecret string) *credentials.Credential {
	provider := catalog.Builtin().Provider("sendpulse")
	return &credentials.Credential{
		ID:       "c",
		Provider: provider,
		Method:   provider.AuthMethod("oauth2_client_credentials"),
		Values:   map[string]secret.Text{"client_id": secret.New(clientID), "client_secret": secret.New(clientSecret)},
	}
}

// credentialOf returns a credential of an auth method. The text has the keys of the method, without its ID
// and display name.
func credentialOf(t testing.TB, method string, values map[string]string) *credentials.Credential {
	t.Helper()
	document := yamlfile.Parse("p.yaml", []byte(`
id: p
display_name: P
allowed_hosts: [p.test]
auth_methods:
- id: m
  display_name: M
`+method))
	provider := catalog.Define(document.Root())
	if err := document.Err(); err != nil {
		t.Fatal(err)
	}
	credential := &credentials.Credential{ID: "c", Provider: provider, Method: provider.AuthMethods[0], Values: map[string]secret.Text{}}
	for field, value := range values {
		credential.Values[field] = secret.New(value)
	}
	return credential
}

// urlOf returns the URL of a token request that the given text defines.
func urlOf(t testing.TB, text string) *catalog.URL {
	t.Helper()
	credential := credentialOf(t, `
  fields: [{id: client_id, display_name: I, required: true}, {id: client_secret, display_name: S, required: true}]
  token_request: {url: "`+text+`", body: JSON, client_authentication: BASIC}
  headers: [{name: A, value: "${token}"}]
`, nil)
	return credential.Method.TokenRequest.URL
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answering(body []byte) transport {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
	}
}

func newTokens(t testing.TB, credential *credentials.Credential, client *strategies.TokenClient) *strategies.TokenSource {
	t.Helper()
	tokens, err := strategies.NewTokenSource(credential, client)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestTokenKeyFollowsAllThatATokenDependsOn(t *testing.T) {
	client := strategies.NewTokenClient(strategies.TokenClientOptions{})
	key := func(id, secret string) string { return newTokens(t, sendPulse(id, secret), client).TokenKey() }
	first := key("id", "secret")
	if key("id", "secret") != first {
		t.Error("the same client has two token keys")
	}
	for _, other := range []string{key("id", "rotated"), key("id2", "secret"), key("idse", "cret")} {
		if other == first {
			t.Error("two clients share a token key")
		}
	}
	if strings.Contains(first, "secret") {
		t.Error("the token key contains the secret")
	}
	if newTokens(t, sendPulse("id", "secret"), strategies.NewTokenClient(strategies.TokenClientOptions{})).TokenKey() != first {
		t.Error("another replica has another token key for the same client")
	}
}

func TestTokenKeyFollowsTheRequest(t *testing.T) {
	client := strategies.NewTokenClient(strategies.TokenClientOptions{})
	key := func(change func(*catalog.TokenRequest)) string {
		credential := sendPulse("id", "secret")
		method := *credential.Method
		request := *method.TokenRequest
		change(&request)
		method.TokenRequest, credential.Method = &request, &method
		return newTokens(t, credential, client).TokenKey()
	}
	seen := map[string]string{}
	environment, err := expression.NewEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	parameter := func(name, value string) map[string]any {
		template, problems := environment.Compile(value)
		if problems != nil {
			t.Fatal(problems)
		}
		return map[string]any{name: template}
	}
	for what, change := range map[string]func(*catalog.TokenRequest){
		"nothing":           func(*catalog.TokenRequest) {},
		"URL":               func(r *catalog.TokenRequest) { r.URL = urlOf(t, "https://api.sendpulse.com/oauth/access_token/market") },
		"body":              func(r *catalog.TokenRequest) { r.Body = catalog.BodyForm },
		"authentication":    func(r *catalog.TokenRequest) { r.ClientAuthentication = catalog.ClientInBasic },
		"a parameter":       func(r *catalog.TokenRequest) { r.Parameters = parameter("scope", "a") },
		"its value":         func(r *catalog.TokenRequest) { r.Parameters = parameter("scope", "b") },
		"its name":          func(r *catalog.TokenRequest) { r.Parameters = parameter("audience", "a") },
		"previous token":    func(r *catalog.TokenRequest) { r.EndsPrevious = true },
		"private addresses": func(r *catalog.TokenRequest) { r.AllowPrivateAddresses = true },
		"lifetime":          func(r *catalog.TokenRequest) { r.DefaultLifetime = time.Minute },
	} {
		made := key(change)
		if other, found := seen[made]; found {
			t.Errorf("%s and %s have the same key", what, other)
		}
		seen[made] = what
	}
}

func TestHangingRequestEndsAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := strategies.NewTokenClient(strategies.TokenClientOptions{
			Transport: transport(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}),
		})
		began := time.Now()
		_, err := newTokens(t, sendPulse("id", "secret"), client).RequestToken(t.Context())
		if known := fault.From(err); known.Reason != fault.ProviderUnavailable || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestBudgetOfTokenRequests(t *testing.T) {
	clock := clockwork.NewFakeClock()
	sent := 0
	var events []strategies.TokenRequestEvent
	client := strategies.NewTokenClient(strategies.TokenClientOptions{
		Clock:   clock,
		Observe: func(event strategies.TokenRequestEvent) { events = append(events, event) },
		Transport: transport(func(r *http.Request) (*http.Response, error) {
			sent++
			return answering([]byte(`{"access_token":"t"}`))(r)
		}),
	})
	tokens := newTokens(t, sendPulse("id", "secret"), client)
	request := func(tokens *strategies.TokenSource) error {
		_, err := tokens.RequestToken(t.Context())
		return err
	}
	for range 20 {
		if err := request(tokens); err != nil {
			t.Fatal(err)
		}
	}
	err := request(tokens)
	if known := fault.From(err); known.Reason != fault.RateLimited || known.RetryDelay != time.Second {
		t.Errorf("the request beyond the budget has the error %v and the retry delay %v", err, known.RetryDelay)
	}
	if len(events) != 21 {
		t.Errorf("there are %d events for 21 requests", len(events))
	}
	if last := events[len(events)-1]; sent != 20 || !errors.Is(err, last.Err) {
		t.Errorf("%d requests were sent, and the last event has the error %v", sent, last.Err)
	}
	if err := request(newTokens(t, sendPulse("another", "secret"), client)); err != nil {
		t.Errorf("the request of another client has the error %v", err)
	}
	clock.Advance(time.Second)
	if err := request(tokens); err != nil {
		t.Errorf("the request a second later has the error %v", err)
	}
}

// TestBudgetWithoutClientID has a method whose accounts differ only in a secret.
func TestBudgetWithoutClientID(t *testing.T) {
	client := strategies.NewTokenClient(strategies.TokenClientOptions{
		Clock: clockwork.NewFakeClock(), Transport: answering([]byte(`{"access_token":"t"}`)),
	})
	const method = `
  fields: [{id: key, display_name: K, required: true, secret: true}]
  token_request: {url: "https://p.test/token", body: FORM, parameters: {key: "${key}"}, client_authentication: NONE}
  headers: [{name: A, value: "${token}"}]
`
	for number := range 50 {
		credential := credentialOf(t, method, map[string]string{"key": fmt.Sprint(number)})
		if _, err := newTokens(t, credential, client).RequestToken(t.Context()); err != nil {
			t.Fatalf("after %d requests of other accounts: %v", number, err)
		}
	}
}

func TestTransportErrorsAreDescribedNotQuoted(t *testing.T) {
	client := strategies.NewTokenClient(strategies.TokenClientOptions{
		Transport: transport(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("proxy said: " + canary)
		}),
	})
	_, err := newTokens(t, sendPulse("id", canary), client).RequestToken(t.Context())
	if known := fault.From(err); known.Reason != fault.ProviderUnavailable || strings.Contains(err.Error(), canary) {
		t.Errorf("the error is %v", err)
	}
}

// TestTokenThatArrivesLate checks answers that take about as long as the token is valid. If the
// token's lifetime begins with the request, the token has expired when the answer arrives; if it
// begins with the answer, the token is still valid.
func TestTokenThatArrivesLate(t *testing.T) {
	for lifetime, latency := range map[time.Duration]time.Duration{
		10 * time.Second: 8 * time.Second,
		5 * time.Second:  5 * time.Second,
		time.Second:      9 * time.Second,
	} {
		clock := clockwork.NewFakeClock()
		client := strategies.NewTokenClient(strategies.TokenClientOptions{
			Clock: clock,
			Transport: transport(func(r *http.Request) (*http.Response, error) {
				clock.Advance(latency)
				return answering(fmt.Appendf(nil, `{"access_token":"t","expires_in":%d}`, lifetime/time.Second))(r)
			}),
		})
		sentAt := clock.Now()
		issued, err := newTokens(t, sendPulse("id", "secret"), client).RequestToken(t.Context())
		if err != nil {
			t.Errorf("the request for a token with the lifetime %v that arrives after %v has the error %v", lifetime, latency, err)
		} else if end, last := issued.End().Sub(sentAt), issued.LastEnd().Sub(clock.Now()); end != lifetime || last != lifetime {
			t.Errorf("for a token with the lifetime %v that arrives after %v, End is %v after the request, and LastEnd is %v after the answer",
				lifetime, latency, end, last)
		}
	}
}

// TestTokenAfterSleep lets the machine sleep while an answer is on its way. The client then cannot
// know how old the token in the answer is, so it must request a second token.
func TestTokenAfterSleep(t *testing.T) {
	for name, sleeps := range map[string]int{"one sleep": 1, "asleep again": 2} {
		clock := clockwork.NewFakeClock()
		var sentAt time.Time
		requests := 0
		client := strategies.NewTokenClient(strategies.TokenClientOptions{
			Clock: clock,
			Transport: transport(func(r *http.Request) (*http.Response, error) {
				sentAt = clock.Now()
				if requests++; requests <= sleeps {
					clock.Advance(2 * time.Hour)
				}
				return answering([]byte(`{"access_token":"t","expires_in":3600}`))(r)
			}),
		})
		issued, err := newTokens(t, sendPulse("id", "secret"), client).RequestToken(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if last := issued.LastEnd().Sub(sentAt); last != time.Hour || requests != 2 {
			t.Errorf("%s: %d requests were sent, want 2, and the token ends %v after the last request, want 1h", name, requests, last)
		}
	}
}

// TestSelfSignedTokenEndsWithItsClaim signs a short JWT within a second: the claim exp is a whole number.
func TestSelfSignedTokenEndsWithItsClaim(t *testing.T) {
	credential := credentialOf(t, `
  fields: [{id: key, display_name: K, required: true, secret: true}]
  jwt: {algorithm: HS256, key: "${key}", lifetime: 3s, claims: {iss: a}}
  headers: [{name: A, value: "${jwt}"}]
`, map[string]string{"key": "k"})
	clock := clockwork.NewFakeClockAt(time.Unix(1_800_000_000, 900_000_000))
	client := strategies.NewTokenClient(strategies.TokenClientOptions{Clock: clock})
	issued, err := newTokens(t, credential, client).RequestToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseInsecure([]byte(issued.Value.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	if expires, _ := parsed.Expiration(); !issued.LastEnd().Equal(expires) || !expires.Equal(time.Unix(1_800_000_003, 0)) {
		t.Errorf("the token ends at %v, and its claim exp is %v", issued.LastEnd(), expires)
	}
}

// TestLastCookieCounts has a provider that first removes the cookie of an earlier session, as PHP does.
func TestLastCookieCounts(t *testing.T) {
	credential := credentialOf(t, `
  fields: [{id: key, display_name: K, required: true, secret: true}]
  token_request: {url: "https://p.test/login", body: FORM, parameters: {key: "${key}"}, client_authentication: NONE, grant_type: "", response: {token: {cookie: session}}}
  headers: [{name: Cookie, value: "session=${token}"}]
`, map[string]string{"key": "k"})
	for want, cookies := range map[string][]string{
		"one":   {"session=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0", "session=one; path=/"},
		"two":   {"session=one", "other=three", "session=two"},
		"three": {"session=three", "session=deleted; Max-Age=0; path=/old", "session="},
		"four":  {"session=four", "session=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/old"},
	} {
		client := strategies.NewTokenClient(strategies.TokenClientOptions{Transport: transport(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Set-Cookie": cookies}, Body: http.NoBody, Request: r}, nil
		})})
		if issued, err := newTokens(t, credential, client).RequestToken(t.Context()); err != nil || issued.Value.Reveal() != want {
			t.Errorf("with the cookies %q, the token is not %s; the error is %v", cookies, want, err)
		}
	}
}

// TestValuesInJSONAreUTF8 checks a value from a file in another encoding, which JSON would change.
func TestValuesInJSONAreUTF8(t *testing.T) {
	const fields = `
  fields: [{id: key, display_name: K, required: true, secret: true}]
`
	for _, method := range []string{
		fields + `  token_request: {url: "https://p.test/token", body: JSON, parameters: {key: "${key}"}, client_authentication: NONE}
  headers: [{name: A, value: "${token}"}]`,
		fields + `  jwt: {algorithm: HS256, key: "${key}", claims: {iss: "${key}"}}
  headers: [{name: A, value: "${jwt}"}]`,
	} {
		for value, want := range map[string]int{"caf\xe9": 1, "café": 0} {
			credential := credentialOf(t, method, map[string]string{"key": value})
			if problems := strategies.Check(credential); len(problems) != want || want == 1 && problems[0].Field != "key" {
				t.Errorf("%s: for %q, the problems are %v, want %d", method, value, problems, want)
			}
		}
	}
}
