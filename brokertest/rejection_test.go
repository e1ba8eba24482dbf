package brokertest_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// rejecting is an auth method whose provider rejects tokens with HTTP 200.
const rejecting = `rejected_statuses: [401],
	rejected_when: [
		{statuses: [200, 403], headers: {X-State: expired}, json: {error.code: {not: 7}, ok: false}},
		{statuses: [403], json: {}},
		{statuses: [404], json: {"a\\.b.0": text, n: 1.5}},
		{statuses: [405]}],
	token_request: {url: "https://api.example.test/token", body: FORM, client_authentication: BASIC},
	headers: [{name: Authorization, value: "Bearer ${token}"}, {name: X-Version, value: "2026-01-01", only_if_absent: true}]`

// newRejecting returns a broker with the credential `mine`, whose provider answers requests to /things
// with HTTP 200, also if it rejects the token.
func newRejecting(t *testing.T) (h harness, tokens *simulator.TokenEndpoint) {
	t.Helper()
	h = newHarness(t, brokertest.WithProvider(definition(rejecting, "client_id, client_secret")),
		brokertest.WithCredentials(brokertest.Credential{
			ID: "mine", Provider: "example", AuthMethod: "main", Values: map[string]string{"client_id": "i", "client_secret": "s"},
		}))
	tokens = h.Simulator.HandleTokens("POST api.example.test/token", simulator.TokenRules{ClientAuthentication: simulator.Basic})
	tokens.AddClient(simulator.Client{ID: "i", Secret: "s"})
	h.Simulator.Handle("GET api.example.test/things", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := `{"ok": true, "version": "` + r.Header.Get("X-Version") + `"}`
		if !tokens.Accepts(r) {
			w.Header().Set("X-State", "expired")
			text = `{"ok": false, "error": {"code": 8}}`
		}
		_, _ = io.WriteString(w, text)
	}))
	return h, tokens
}

func TestConditionsOfADecoration(t *testing.T) {
	h, _ := newRejecting(t)
	got := h.get("mine")
	version := header("X-Version", "2026-01-01")
	version.OnlyIfAbsent = true
	h.wantDecoration(got, &decoration{
		CredentialId: "mine", Version: got.GetVersion(), AllowedHosts: []string{"api.example.test"}, RejectedStatuses: []int32{401},
		Headers:    []*authmaterialv1.Header{header("Authorization", got.GetHeaders()[0].GetValue()), version},
		ExpireTime: got.GetExpireTime(), RefreshTime: got.GetRefreshTime(),
		RejectedWhen: []*authmaterialv1.RejectionCondition{
			{
				Statuses: []int32{200, 403},
				Headers:  []*authmaterialv1.HeaderCondition{{Name: "X-State", Value: "expired"}},
				Json: &authmaterialv1.JsonCondition{Members: []*authmaterialv1.JsonMemberCondition{
					{Path: []string{"error", "code"}, Value: &authmaterialv1.JsonMemberCondition_NumberValue{NumberValue: 7}, Negated: true},
					{Path: []string{"ok"}, Value: &authmaterialv1.JsonMemberCondition_BoolValue{BoolValue: false}},
				}},
			},
			{Statuses: []int32{403}, Json: &authmaterialv1.JsonCondition{}},
			{
				Statuses: []int32{404},
				Json: &authmaterialv1.JsonCondition{Members: []*authmaterialv1.JsonMemberCondition{
					{Path: []string{"a.b", "0"}, Value: &authmaterialv1.JsonMemberCondition_StringValue{StringValue: "text"}},
					{Path: []string{"n"}, Value: &authmaterialv1.JsonMemberCondition_NumberValue{NumberValue: 1.5}},
				}},
			},
			{Statuses: []int32{405}},
		},
	})
}

func TestReportsWithStatusesOfConditions(t *testing.T) {
	h, tokens := newRejecting(t)
	version := h.get("mine").GetVersion()
	if same := h.wantReport("mine", version, 402, notReplaceable); same != version {
		t.Error("a report with a status of no condition changed the material")
	}
	for _, status := range []int32{200, 405} {
		next := h.wantReport("mine", version, status, replaced)
		if next == version {
			t.Errorf("after a report with the status %d, the broker serves the same version", status)
		}
		version = next
	}
	if n := tokens.TotalTokenRequests(); n != 3 {
		t.Errorf("%d token requests, want 3", n)
	}
}

// TestRejectionWithHTTP200 ends a token early, which the provider then rejects with HTTP 200.
func TestRejectionWithHTTP200(t *testing.T) {
	h, tokens := newRejecting(t)
	for i, want := range []string{`{"ok": true, "version": "2026-01-01"}`, `{"ok": true, "version": "mine"}`} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.test/things", nil)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			tokens.RevokeTokens()
			request.Header.Set("x-version", "mine")
		}
		response, err := h.HTTPClientWith("mine").Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || string(text) != want || tokens.TotalTokenRequests() != i+1 {
			t.Errorf("request %d: the answer is %s (%v) after %d token requests, want %s", i, text, err, tokens.TotalTokenRequests(), want)
		}
	}
}
