package strategies_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// fuzzedResponses are sections `response` with which FuzzTokenAnswer reads each answer.
var fuzzedResponses = []string{
	"{}",
	"{token: BODY}",
	"{token: {cookie: session}, lifetime: {header: X-Fuzz}, lifetime_unit: MILLISECONDS}",
	"{token: data.items.0.token, expires_at: data.until}",
	"{expires_at: TOKEN}",
	"{token: {header: X-Fuzz}, values: {account: account.id}, refused: [{json: {success: false}}, {statuses: [200], headers: {X-Fuzz: no}}]}",
	"{lifetime: minutes, lifetime_unit: MINUTES, refused: [{json: {ok: {not: true}}}]}",
	"{expires_at: {header: X-Fuzz}, values: {whole: BODY, cookie: {cookie: session}}}",
}

// withResponse returns a credential whose token request has the given section `response`.
func withResponse(t testing.TB, response string) *credentials.Credential {
	t.Helper()
	return credentialOf(t, `
  fields: [{id: a, display_name: A, required: true}]
  token_request: {url: "https://p.test/${a}", body: NONE, client_authentication: NONE, response: `+response+`}
  headers: [{name: A, value: "${token}"}]
`, map[string]string{"a": "a"})
}

// FuzzTokenAnswer checks that every answer results either in a usable token, or in an error that
// does not quote the answer.
func FuzzTokenAnswer(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"t","expires_in":3600}`, `{"access_token":"t","expires_in":"1e3"}`, `{"error":"invalid_client"}`,
		`{"error":{"a":1},"access_token":null}`, `{"error":"slow_down"}`, `{"error":"internal_error"}`, "null", "<html>", "\ufeff{}", "", "[]", `{"access_token":"a\nb"}`, `{"expires_in":-0.0,"access_token":"t"}`,
	} {
		for _, status := range []int{101, 200, 302, 400, 403, 421, 429, 502, 503} {
			f.Add(status, []byte(body), "", uint(0))
		}
	}
	for response, answer := range []struct{ header, body string }{
		{"", `{"access_token":"t","expires_in":1}`}, {"", " t\n"}, {"6e4", "{}"}, {"", `{"data":{"items":[{"token":"t"}],"until":"2126-01-01T00:00:00Z"}}`},
		{"", `{"access_token":"e30.eyJleHAiOjQ5MjM1MjAwMDB9.e30"}`}, {"t", `{"account":{"id":12345678901234567890},"success":true}`},
		{"", `{"access_token":"t","minutes":5,"ok":1}`}, {"4923520000000", `{"access_token":"t"}`},
	} {
		f.Add(200, []byte(answer.body), answer.header, uint(response))
		f.Add(200, []byte(`{"success":false,"ok":true,"data":{"items":[{"token":"t"}],"until":1e300}}`), "no", uint(response))
	}
	var all []*credentials.Credential
	for _, response := range fuzzedResponses {
		all = append(all, withResponse(f, response))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, header string, response uint) {
		credential := all[response%uint(len(all))]
		client := strategies.NewTokenClient(strategies.TokenClientOptions{Transport: transport(func(r *http.Request) (*http.Response, error) {
			headers := http.Header{"X-Fuzz": {header}, "Set-Cookie": {"session=" + header}}
			return &http.Response{StatusCode: status, Header: headers, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
		})})
		issued, err := newTokens(t, credential, client).RequestToken(t.Context())
		if err != nil {
			declared := credential.Method.TokenRequest.Response.Refused != nil
			checkUnquotedFailure(t, status, body, fault.From(err), declared)
			return
		}
		material, err := strategies.Place(credential, issued.Value)
		if err != nil {
			t.Fatal(err)
		}
		value := material.Headers[0].Value.Reveal()
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Error("a token that no header can carry was accepted")
		}
		if issued.Lifetime <= 0 || issued.Lifetime > token.MaxLifetime {
			t.Errorf("a lifetime of %v was accepted", issued.Lifetime)
		}
		if status/100 != 2 {
			t.Errorf("a token was taken from an answer with status %d", status)
		}
	})
}

// checkUnquotedFailure checks that the error does not quote the answer, and that only an answer of
// the token endpoint itself counts as a rejection of the credential. The argument `declared` is true if
// the definition declares answers that reject it.
func checkUnquotedFailure(t *testing.T, status int, body []byte, failure *fault.Error, declared bool) {
	t.Helper()
	if len(failure.Message) > 200 {
		t.Errorf("the message has %d bytes, so it quotes the answer", len(failure.Message))
	}
	switch failure.Reason {
	case fault.ProviderUnavailable, fault.ProviderRateLimited:
	case fault.CredentialRejected:
		if declared {
			return
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &object) != nil || object == nil {
			t.Errorf("status %d with a body that is not a JSON object counts as a rejection of the credential", status)
		}
		var code string
		named := json.Unmarshal(object["error"], &code) == nil && strings.HasSuffix(failure.Message, ", "+code+")")
		if status != 400 && status != 401 && !named {
			t.Errorf("status %d without a registered error counts as a rejection of the credential: %s", status, failure.Message)
		}
		if slices.Contains([]string{"server_error", "temporarily_unavailable", "slow_down", "authorization_pending"}, code) {
			t.Errorf("the temporary error %s counts as a rejection of the credential", code)
		}
	default:
		t.Errorf("the error is %v", failure)
	}
}
