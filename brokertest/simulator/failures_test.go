package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/brokertest/simulator"
)

// TestFailuresThatAnswer checks what a client receives for each failure, over TLS and in process.
func TestFailuresThatAnswer(t *testing.T) {
	const date = "Sat, 01 Jan 2000 00:02:00 GMT"
	tests := map[string]struct {
		failure simulator.Failure
		status  int
		header  string // "Name: value"
		body    string
	}{
		"AnswerWith":         {simulator.AnswerWith(418, "text/x", "b"), 418, "Content-Type: text/x", "b"},
		"HTMLPage 200":       {simulator.HTMLPage(200), 200, "Content-Type: text/html; charset=utf-8", "<h1>200 OK</h1>"},
		"HTMLPage 502":       {simulator.HTMLPage(502), 502, "Content-Type: text/html; charset=utf-8", "Bad Gateway"},
		"EmptyBody":          {simulator.EmptyBody(), 200, "Content-Length: 0", ""},
		"NotJSON":            {simulator.NotJSON(), 200, "Content-Type: application/json", "access granted"},
		"OAuthError 200":     {simulator.OAuthError(200, "invalid_client"), 200, "", `"error":"invalid_client"`},
		"OAuthError 400":     {simulator.OAuthError(400, "invalid_client"), 400, "", `"error":"invalid_client"`},
		"OAuthError 408":     {simulator.OAuthError(408, "server_error"), 408, "", `"error":"server_error"`},
		"ErrorInSuccess":     {simulator.ErrorInSuccess("not_authed"), 200, "", `{"error":"not_authed","ok":false}`},
		"ServiceUnavailable": {simulator.ServiceUnavailable("30"), 503, "Retry-After: 30", ""},
		"a date":             {simulator.ServiceUnavailable(date), 503, "Retry-After: " + date, ""},
		"TooManyRequests":    {simulator.TooManyRequests("7"), 429, "Retry-After: 7", ""},
		"no Retry-After":     {simulator.TooManyRequests(""), 429, "Retry-After: ", ""},
		"ContentType":        {simulator.ContentType("text/plain"), 200, "Content-Type: text/plain", `"access_token":`},
		"another's client":   {simulator.ForClient("other", simulator.EmptyBody()), 200, "", `"access_token":`},
	}
	for name, test := range tests {
		for way, client := range clients() {
			t.Run(name+" "+way, func(t *testing.T) {
				sim, client := client(t)
				sim.SendPulse.FailTokenRequests(test.failure)
				got := do(t, client, tokenRequest(sim.SendPulse.Client()))
				if got.status != test.status || !strings.Contains(got.body, test.body) {
					t.Errorf("the answer has status %d and a body of %d bytes, want status %d and a body that contains %s", got.status, len(got.body), test.status, test.body)
				}
				headerName, value, _ := strings.Cut(test.header, ": ")
				if way == "over TLS" && got.header.Get(headerName) != value {
					t.Errorf("the header %s is %q, want %q", headerName, got.header.Get(headerName), value)
				}
			})
		}
	}
}

func TestFailuresThatChangeAField(t *testing.T) {
	sim, client := start(t)
	for name, test := range map[string]struct {
		failure simulator.Failure
		field   string
		want    any // nil: null
	}{
		"a string":       {simulator.ExpiresIn("3600"), "expires_in", "3600"},
		"a float":        {simulator.ExpiresIn(3599.5), "expires_in", 3599.5},
		"a float string": {simulator.ExpiresIn("3599.5"), "expires_in", "3599.5"},
		"zero":           {simulator.ExpiresIn(0), "expires_in", 0.0},
		"negative":       {simulator.ExpiresIn(-1), "expires_in", -1.0},
		"null":           {simulator.ExpiresIn(nil), "expires_in", nil},
		"unreadable":     {simulator.ExpiresIn("soon"), "expires_in", "soon"},
		"milliseconds":   {simulator.ExpiresIn(3_600_000), "expires_in", 3.6e6},
		"absurd":         {simulator.ExpiresIn(json.RawMessage("1e300")), "expires_in", 1e300},
		"null token":     {simulator.AccessToken(nil), "access_token", nil},
		"empty token":    {simulator.AccessToken(""), "access_token", ""},
		"number token":   {simulator.AccessToken(42), "access_token", 42.0},
		"newline token":  {simulator.AccessToken("a\nb"), "access_token", "a\nb"},
		"non-ASCII":      {simulator.AccessToken("é"), "access_token", "é"},
		"token type":     {simulator.ChangeField("token_type", "mac"), "token_type", "mac"},
	} {
		t.Run(name, func(t *testing.T) {
			sim.SendPulse.FailTokenRequests(test.failure)
			body := object(t, do(t, client, tokenRequest(sim.SendPulse.Client())))
			got, present := body[test.field]
			if diff := cmp.Diff(test.want, got); diff != "" || !present {
				t.Errorf("the answer has the field: %t; difference of the field's value (-want +got):\n%s", present, diff)
			}
			if len(body) != 3 {
				t.Errorf("the answer has %d fields, want the usual 3", len(body))
			}
		})
	}
	for _, field := range []string{"expires_in", "access_token"} {
		sim.SendPulse.FailTokenRequests(simulator.RemoveField(field))
		body := object(t, do(t, client, tokenRequest(sim.SendPulse.Client())))
		if _, present := body[field]; present || len(body) != 2 {
			t.Errorf("RemoveField(%q) did not remove exactly one field", field)
		}
	}
	wrong := simulator.Client{ID: "unknown"}
	if got := do(t, client, tokenRequest(wrong)); got.status != 401 || object(t, got)["error"] != "invalid_client" {
		t.Errorf("ChangeField turned an error answer into status %d", got.status)
	}
}

func TestBodiesThatAreTooShortOrTooLong(t *testing.T) {
	sim, client := start(t)
	sim.SendPulse.FailTokenRequests(simulator.TruncateBody())
	got := do(t, client, tokenRequest(sim.SendPulse.Client()))
	if !strings.HasPrefix(got.body, `{"access_token":`) || json.Valid([]byte(got.body)) {
		t.Error("TruncateBody: the body is not the beginning of the answer")
	}
	sim.SendPulse.FailTokenRequests(simulator.HugeBody())
	got = do(t, client, tokenRequest(sim.SendPulse.Client()))
	if len(got.body) < 1<<20 || object(t, got)["expires_in"] != 3600.0 {
		t.Errorf("HugeBody: the answer has %d bytes, want a valid JSON answer of more than 1 MiB", len(got.body))
	}
}

func TestFailuresOfTheConnection(t *testing.T) {
	for way, client := range clients() {
		t.Run(way, func(t *testing.T) {
			sim, client := client(t)
			sim.SendPulse.FailNextTokenRequests(1, simulator.CloseConnection())
			sim.SendPulse.FailNextTokenRequests(1, simulator.CutAnswer())
			if _, err := send(client, tokenRequest(sim.SendPulse.Client())); err == nil {
				t.Error("CloseConnection: the client got an answer")
			}
			got, err := send(client, tokenRequest(sim.SendPulse.Client()))
			if err == nil || got.status != 200 || !strings.HasPrefix(got.body, `{"access_token":`) {
				t.Errorf("CutAnswer: error = %v, status = %d, want status 200 and an error while reading the body", err, got.status)
			}
			obtain(t, client, sim.SendPulse.Client())
		})
	}
}

func TestHangLastsUntilTheClientGivesUp(t *testing.T) {
	for way, client := range clients() {
		t.Run(way, func(t *testing.T) {
			sim, client := client(t)
			gone := make(chan struct{})
			sim.SendPulse.FailTokenRequests(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(gone)
					simulator.Hang()(next).ServeHTTP(w, r)
				})
			})
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				_, err := send(client, tokenRequest(sim.SendPulse.Client()).WithContext(ctx))
				failed <- err
			}()
			await(t, sim.SendPulse.TokenEndpoint, 1)
			select {
			case <-gone:
				t.Error("the request ended before its context did")
			default:
			}
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("error = %v, want the error of the client's context", err)
			}
			<-gone
		})
	}
}

func TestStallAnswerBegins(t *testing.T) {
	for way, client := range clients() {
		t.Run(way, func(t *testing.T) {
			sim, client := client(t)
			sim.SendPulse.FailTokenRequests(simulator.StallAnswer())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got, err := client.Do(tokenRequest(sim.SendPulse.Client()).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = got.Body.Close() }()
			if got.StatusCode != http.StatusOK {
				t.Errorf("status = %d, want 200", got.StatusCode)
			}
			if _, err := io.ReadFull(got.Body, make([]byte, got.ContentLength/2)); err != nil {
				t.Errorf("reading the first half of the body failed: %v", err)
			}
			cancel()
			if _, err := io.ReadAll(got.Body); !errors.Is(err, context.Canceled) {
				t.Errorf("reading the second half of the body: error = %v, want the error of the client's context", err)
			}
		})
	}
}

func TestRedirectsAreCounted(t *testing.T) {
	sim, client := start(t)
	account := sim.SendPulse.Client()
	sim.SendPulse.FailTokenRequests(simulator.Redirect(http.StatusFound))
	if got := do(t, client, tokenRequest(account)).status; got != 302 {
		t.Errorf("status = %d, want 302", got)
	}
	if diff := cmp.Diff(simulator.Leaks{}, sim.Leaks()); diff != "" {
		t.Errorf("leaks of a client that follows no redirects (-want +got):\n%s", diff)
	}
	client.CheckRedirect = nil // follow redirects
	do(t, client, tokenRequest(account))
	if diff := cmp.Diff(simulator.Leaks{RedirectsFollowed: 1}, sim.Leaks()); diff != "" {
		t.Errorf("leaks after a redirect with status 302 (-want +got):\n%s", diff)
	}
	sim.SendPulse.FailTokenRequests(simulator.Redirect(http.StatusTemporaryRedirect))
	got := do(t, client, tokenRequest(account)) // a client that follows a redirect with status 307 sends the request's body again
	if diff := cmp.Diff(simulator.Leaks{RedirectsFollowed: 2, SecretsRedirected: 1}, sim.Leaks()); diff != "" {
		t.Errorf("leaks after a redirect with status 307 (-want +got):\n%s", diff)
	}
	if token, _ := object(t, got)["access_token"].(string); do(t, client, get(userInfo, bearer(token))).status != 401 {
		t.Error("the API accepts the token that the redirect's target issued")
	}
}

func TestSecretsInHTTPBasicAreFoundAfterARedirect(t *testing.T) {
	sim, client := start(t)
	endpoint := sim.HandleTokens(examplePattern,
		simulator.TokenRules{ClientAuthentication: simulator.Basic})
	account := endpoint.AddClient(simulator.Client{Secret: "p%s:/"})
	endpoint.FailTokenRequests(simulator.Redirect(http.StatusTemporaryRedirect))
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error { // a careless client
		r.Header.Set("Authorization", via[0].Header.Get("Authorization"))
		return nil
	}
	request := postForm(url.Values{"grant_type": {"client_credentials"}})
	request.SetBasicAuth(url.QueryEscape(account.ID), url.QueryEscape(account.Secret))
	do(t, client, request)
	if diff := cmp.Diff(simulator.Leaks{RedirectsFollowed: 1, SecretsRedirected: 1}, sim.Leaks()); diff != "" {
		t.Errorf("leaks (-want +got):\n%s", diff)
	}
}

func TestCookiesAreCounted(t *testing.T) {
	sim, client := start(t)
	sim.SendPulse.FailTokenRequests(simulator.SetCookie())
	obtain(t, client, sim.SendPulse.Client())
	obtain(t, client, sim.SendPulse.Client())
	if got := sim.Leaks().CookiesReturned; got != 0 {
		t.Errorf("a client without a cookie jar sent %d cookies back", got)
	}
	client.Jar, _ = cookiejar.New(nil)
	obtain(t, client, sim.SendPulse.Client())
	obtain(t, client, sim.SendPulse.Client())
	if got := sim.Leaks().CookiesReturned; got != 1 {
		t.Errorf("a client with a cookie jar sent %d cookies back, want 1", got)
	}
}

func TestEchoRequestRepeatsTheSecret(t *testing.T) {
	sim, client := start(t)
	account := sim.SendPulse.Client()
	sim.SendPulse.FailTokenRequests(simulator.EchoRequest())
	if got := do(t, client, tokenRequest(account)); got.status != 400 || !strings.Contains(got.body, account.Secret) {
		t.Errorf("status = %d, want 400 with the secret in the body", got.status)
	}
}

func TestFailuresTakeTurns(t *testing.T) {
	sim, client := start(t)
	sim.SendPulse.FailTokenRequests(simulator.HTMLPage(502))
	sim.SendPulse.FailNextTokenRequests(2, simulator.TooManyRequests(""))
	sim.SendPulse.FailNextTokenRequests(1, simulator.HTMLPage(500))
	for i, want := range []int{429, 429, 500, 502, 502} {
		if got := do(t, client, tokenRequest(sim.SendPulse.Client())).status; got != want {
			t.Errorf("request %d: status = %d, want %d", i+1, got, want)
		}
	}
	sim.SendPulse.FailNextTokenRequests(1, simulator.HTMLPage(500))
	sim.SendPulse.RestoreTokenRequests()
	obtain(t, client, sim.SendPulse.Client())
}

func TestAFailureOfOneClientLeavesOthersAlone(t *testing.T) {
	sim, client := start(t)
	healthy := sim.SendPulse.AddClient(simulator.Client{})
	sim.SendPulse.FailTokenRequests(simulator.ForClient(sim.SendPulse.Client().ID, simulator.HTMLPage(500)))
	if got := do(t, client, tokenRequest(sim.SendPulse.Client())).status; got != 500 {
		t.Errorf("a request of the client whose requests must fail: status = %d, want 500", got)
	}
	obtain(t, client, healthy)
}
