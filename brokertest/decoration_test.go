package brokertest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

type decoration = authmaterialv1.AuthDecoration

func header(name, value string) *authmaterialv1.Header {
	return &authmaterialv1.Header{Name: name, Value: value}
}

func param(name, value string) *authmaterialv1.QueryParam {
	return &authmaterialv1.QueryParam{Name: name, Value: value}
}

// methods lists the auth methods of the built-in providers, each with the broker's answer and an
// API call that the provider accepts with that answer.
var methods = []struct {
	id         string
	url        string
	want       func(sim *simulator.Simulator) *decoration
	recognised func(sim *simulator.Simulator) int
}{
	{
		id:  "sendpulse-oauth",
		url: "https://api.sendpulse.com/user/info",
		want: func(sim *simulator.Simulator) *decoration {
			// The decoration has the token that the simulator issued last.
			secrets := sim.Secrets()
			return &decoration{
				Headers:          []*authmaterialv1.Header{header("Authorization", "Bearer "+secrets[len(secrets)-1])},
				AllowedHosts:     []string{"api.sendpulse.com"},
				RejectedStatuses: []int32{401},
			}
		},
		recognised: func(sim *simulator.Simulator) int { return sim.SendPulse.RecognisedRequests() },
	},
	{
		id:  "sendpulse-key",
		url: "https://api.sendpulse.com/user/info",
		want: func(sim *simulator.Simulator) *decoration {
			return &decoration{
				Headers:          []*authmaterialv1.Header{header("Authorization", "Bearer "+sim.SendPulse.APIKey())},
				AllowedHosts:     []string{"api.sendpulse.com"},
				RejectedStatuses: []int32{401},
			}
		},
		recognised: func(sim *simulator.Simulator) int { return sim.SendPulse.RecognisedRequests() },
	},
	{
		id:  "pulsedive",
		url: "https://pulsedive.com/api/indicator.php?indicator=pulsedive.com",
		want: func(sim *simulator.Simulator) *decoration {
			return &decoration{
				QueryParams:      []*authmaterialv1.QueryParam{param("key", sim.Pulsedive.Key())},
				AllowedHosts:     []string{"pulsedive.com"},
				RejectedStatuses: []int32{401},
			}
		},
		recognised: func(sim *simulator.Simulator) int { return sim.Pulsedive.RecognisedRequests() },
	},
	{
		id:  "pendo",
		url: "https://app.pendo.io/api/v1/token/verify",
		want: func(sim *simulator.Simulator) *decoration {
			return &decoration{
				Headers: []*authmaterialv1.Header{header("x-pendo-integration-key", sim.Pendo.Key())},
				AllowedHosts: []string{
					"app.pendo.io", "us1.app.pendo.io", "app.eu.pendo.io", "app.jpn.pendo.io", "app.au.pendo.io",
				},
				RejectedStatuses: []int32{403},
			}
		},
		recognised: func(sim *simulator.Simulator) int { return sim.Pendo.RecognisedRequests() },
	},
	{
		id:  "spotdraft",
		url: "https://api.in.spotdraft.com/api/v2.1/public/contract_types/",
		want: func(sim *simulator.Simulator) *decoration {
			return &decoration{
				Headers: []*authmaterialv1.Header{
					header("client-id", sim.SpotDraft.Client().ID),
					header("client-secret", sim.SpotDraft.Client().Secret),
					header("user-email", sim.SpotDraft.UserEmail()),
				},
				AllowedHosts: []string{
					"api.in.spotdraft.com", "api.us.spotdraft.com", "api.me.spotdraft.com", "api.eu.spotdraft.com", "api.spotdraft.com",
				},
				RejectedStatuses: []int32{401},
			}
		},
		recognised: func(sim *simulator.Simulator) int { return sim.SpotDraft.RecognisedRequests() },
	},
}

func TestEachMethodsDecorationIsWholeAndAccepted(t *testing.T) {
	clock := clockwork.NewFakeClock()
	h := newHarness(t, brokertest.WithClock(clock))
	for _, method := range methods {
		t.Run(method.id, func(t *testing.T) {
			h := harness{T: t, Broker: h.Broker}
			got := h.get(method.id)
			want := method.want(h.Simulator)
			want.CredentialId = method.id
			want.Version = got.GetVersion()
			want.RefreshTime = timestamppb.New(clock.Now().Truncate(time.Second).Add(5 * time.Minute))
			if method.id == "sendpulse-oauth" {
				want.ExpireTime = timestamppb.New(clock.Now().Add(59 * time.Minute))
				want.RefreshTime = timestamppb.New(clock.Now().Add(56*time.Minute + 30*time.Second))
			}
			h.wantDecoration(got, want)
			if len(got.GetVersion()) < 16 || len(got.GetVersion()) > 64 {
				t.Errorf("the decoration's version has %d characters", len(got.GetVersion()))
			}
			before := method.recognised(h.Simulator)
			if status := h.call(method.url, got); status != http.StatusOK || method.recognised(h.Simulator) != before+1 {
				t.Errorf("the provider answers %d and does not recognise the account of the call", status)
			}
		})
	}
}

func TestVersionFollowsTheMaterial(t *testing.T) {
	h := newHarness(t, brokertest.WithCredentials(
		brokertest.Credential{ID: "one", Provider: "pulsedive", AuthMethod: "api_key", Values: map[string]string{"api_key": "k"}},
		brokertest.Credential{ID: "two", Provider: "pulsedive", AuthMethod: "api_key", Values: map[string]string{"api_key": "k"}},
	))
	one := h.get("one").GetVersion()
	if again := h.get("one").GetVersion(); again != one {
		t.Error("the version changed although the material did not")
	}
	if h.get("two").GetVersion() == one {
		t.Error("two credentials with the same key have the same version, which reveals that the keys are equal")
	}
	first := h.get("sendpulse-oauth").GetVersion()
	response, err := h.report("sendpulse-oauth", first, 401)
	if err != nil {
		t.Fatal(err)
	}
	if response.GetAuthDecoration().GetVersion() == first {
		t.Error("the token changed but its version did not")
	}
}

func TestOptionalFieldIsLeftOut(t *testing.T) {
	h := newHarness(t, brokertest.WithCredentials(brokertest.Credential{
		ID: "no-email", Provider: "spotdraft", AuthMethod: "client_headers",
		Values:       map[string]string{"client_id": "i", "client_secret": "s"},
		AllowedHosts: []string{"api.spotdraft.test:8443", "api.spotdraft.com"},
	}))
	got := h.get("no-email")
	h.wantDecoration(got, &decoration{
		CredentialId: "no-email",
		Version:      got.GetVersion(),
		Headers:      []*authmaterialv1.Header{header("client-id", "i"), header("client-secret", "s")},
		RefreshTime:  got.GetRefreshTime(),
		AllowedHosts: []string{
			"api.in.spotdraft.com", "api.us.spotdraft.com", "api.me.spotdraft.com", "api.eu.spotdraft.com", "api.spotdraft.com",
			"api.spotdraft.test:8443",
		},
		RejectedStatuses: []int32{401},
	})
}

func TestCredentialsOfOneClientShareAToken(t *testing.T) {
	h := newHarness(t, brokertest.WithConfig(`
credentials:
  - {id: a, provider: sendpulse, auth_method: oauth2_client_credentials, values: {client_id: {env: SENDPULSE_CLIENT_ID}, client_secret: {env: SENDPULSE_CLIENT_SECRET}}}
  - {id: b, provider: sendpulse, auth_method: oauth2_client_credentials, values: {client_id: {env: SENDPULSE_CLIENT_ID}, client_secret: {env: SENDPULSE_CLIENT_SECRET}}}
`))
	if h.get("a").GetHeaders()[0].GetValue() != h.get("b").GetHeaders()[0].GetValue() {
		t.Error("two credentials with the same client got different tokens")
	}
	if n := h.Simulator.SendPulse.TotalTokenRequests(); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

func TestTokenIsRenewedByTheInjectedClock(t *testing.T) {
	clock := clockwork.NewFakeClock()
	h := newHarness(t, brokertest.WithClock(clock))
	first := h.get("sendpulse-oauth")
	clock.Advance(55 * time.Minute) // the broker renews the token when it is 54 to 55 minutes old
	if err := h.Simulator.SendPulse.AwaitTokenRequests(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	clock.Advance(5 * time.Minute) // the first token expires
	second := h.get("sendpulse-oauth")
	if second.GetVersion() == first.GetVersion() || !strings.HasPrefix(second.GetHeaders()[0].GetValue(), "Bearer ") {
		t.Error("the token was not renewed")
	}
	if status := h.call("https://api.sendpulse.com/user/info", second); status != http.StatusOK {
		t.Errorf("the provider answers %d to a request with the renewed token", status)
	}
	if n := h.Simulator.SendPulse.TotalTokenRequests(); n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
}
