package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/simulated"
)

// In TestFailedRenewalNamesTheCredentials, 13 credentials use the token whose renewal fails.
func TestFailedRenewalNamesTheCredentials(t *testing.T) {
	inScene(t, func(b *scene) {
		var more strings.Builder
		ids := []any{}
		for i := range 12 {
			id := fmt.Sprintf("shared-%02d", i)
			fmt.Fprintf(&more, "  - id: %s\n    provider: sendpulse\n    auth_method: oauth2_client_credentials\n"+
				"    values: {client_id: {env: SENDPULSE_CLIENT_ID}, client_secret: {env: SENDPULSE_CLIENT_SECRET}}\n", id)
			ids = append(ids, id)
		}
		err := b.server.Reload(func() (*config.Config, error) {
			return b.parse(simulated.Environment(b.sim), more.String()), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.get(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		b.sim.SendPulse.FailTokenRequests(simulator.ServiceUnavailable(""))
		b.pass(56 * time.Minute)
		lines := b.log.lines(t, "background renewal of a token failed")
		if len(lines) == 0 {
			t.Fatal("the log does not have the line about the failed renewal")
		}
		want := line{
			"level": "WARN", "provider": "sendpulse", "auth_method": "oauth2_client_credentials", "reason": "PROVIDER_UNAVAILABLE",
			"message": "SendPulse could not answer the token request (HTTP 503)", "more_credentials": 3.0,
			"token_ends": began.Add(time.Hour).Format(time.RFC3339Nano),
		}
		for key, value := range want {
			if lines[0][key] != value {
				t.Errorf("the log line has %s=%v, want %v", key, lines[0][key], value)
			}
		}
		if got := fmt.Sprint(lines[0]["credential_ids"]); got != fmt.Sprint(ids[:10]) {
			t.Errorf("the log line names the credentials %s, want %v", got, ids[:10])
		}
		if next, err := time.Parse(time.RFC3339Nano, fmt.Sprint(lines[0]["next_attempt"])); err != nil || !next.After(began) {
			t.Errorf("the logged time of the next attempt is %v, %v", next, err)
		}
		if strings.Contains(b.scrape(), "shared-") {
			t.Error("a metric contains a credential ID")
		}
	})
}
