package proxytest_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/proxytest"
)

// checked changes the configuration of Envoy so that the requests for /pendo/ are sent to SendPulse,
// with a call to the broker for each of them.
func checked(text string) string {
	return strings.NewReplacer("credential_id: pendo", "credential_id: sendpulse-oauth", "host: app.pendo.io", "host: api.sendpulse.com",
		"exact: app.pendo.io", "exact: api.sendpulse.com", "sni: app.pendo.io", "sni: api.sendpulse.com",
		"host_rewrite_literal: app.pendo.io", "host_rewrite_literal: api.sendpulse.com").Replace(text)
}

// TestTokensAreRenewedUnderLoad sends requests by each proxy while tokens of 10 seconds are renewed.
// Then the provider revokes a token, and the test counts the requests that fail before and after the
// report.
func TestTokensAreRenewedUnderLoad(t *testing.T) {
	const lifetime, duration = 10 * time.Second, 14 * time.Second
	w := proxytest.New(t, nil)
	w.Simulator.SendPulse.SetTokenLifetime(lifetime)
	envoy, nginx := w.StartEnvoy(checked), w.StartNginx(nil)
	urls := map[string]string{
		"SDS": envoy + "/sendpulse/user/info", "ext_authz": envoy + "/pendo/user/info", "auth_request": nginx + "/sendpulse/user/info",
	}
	var load sync.WaitGroup
	for name, url := range urls {
		load.Go(func() {
			sent := 0
			for end, tick := time.After(duration), time.NewTicker(20*time.Millisecond); ; {
				select {
				case <-tick.C:
				case <-end:
					t.Logf("%s: %d requests", name, sent)
					return
				}
				if sent++; w.Get(url).Status != http.StatusOK {
					t.Errorf("%s: request %d failed", name, sent)
				}
			}
		})
	}
	load.Wait()
	if tokens := w.Simulator.SendPulse.TotalTokenRequests(); tokens < 2 || tokens > 3 {
		t.Errorf("there were %d token requests, want 2 or 3", tokens)
	}
	revoke(t, w, urls)
}

// report reports the rejection of a token to the broker.
func report(t *testing.T, w *proxytest.World, version string) *authmaterialv1.ReportRejectionResponse {
	t.Helper()
	answer, err := authmaterialv1.NewBrokerServiceClient(w.Dial(proxy)).ReportRejection(t.Context(),
		&authmaterialv1.ReportRejectionRequest{CredentialId: "sendpulse-oauth", Version: version, HttpStatus: http.StatusUnauthorized})
	if err != nil {
		t.Fatalf("the report failed: %v", err)
	}
	return answer
}

// lasting makes the broker use a token that is not renewed during the test, and returns its version.
func lasting(t *testing.T, w *proxytest.World) (version string) {
	t.Helper()
	w.Simulator.SendPulse.SetTokenLifetime(time.Hour)
	for version = "none"; ; {
		d := report(t, w, version).GetAuthDecoration()
		if version = d.GetVersion(); time.Until(d.GetExpireTime().AsTime()) > time.Minute {
			return version
		}
	}
}

func revoke(t *testing.T, w *proxytest.World, urls map[string]string) {
	t.Helper()
	version := lasting(t, w)
	w.Simulator.SendPulse.RevokeTokens()
	for name, url := range urls {
		for range 10 {
			if got := w.Get(url).Status; got != http.StatusUnauthorized {
				t.Errorf("%s: before the report the status is %d", name, got)
			}
		}
	}
	began := time.Now()
	if outcome := report(t, w, version).GetOutcome(); outcome != authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED {
		t.Fatalf("the report had the outcome %v", outcome)
	}
	t.Logf("the report took %v", time.Since(began))
	began = time.Now()
	for name, url := range urls {
		failed := 0
		for w.Get(url).Status != http.StatusOK {
			if failed++; time.Since(began) > 5*time.Second {
				t.Fatalf("%s: requests still fail after the report", name)
			}
		}
		t.Logf("%s: %d requests failed after the report", name, failed)
		if failed > 0 && name != "SDS" {
			t.Errorf("%s: %d requests failed after the report", name, failed)
		}
	}
}
