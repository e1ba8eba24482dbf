package server_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/simulated"
)

// These are the metric labels of the credential token-of-mail.
const mail = `auth_method="oauth2_client_credentials",provider="sendpulse"`

// wantMetrics checks the values of metric series, written as in the text of /metrics.
func (b *scene) wantMetrics(want ...string) {
	b.Helper()
	text := b.scrape()
	for _, series := range want {
		if strings.Contains("\n"+text, "\n"+series+"\n") {
			continue
		}
		name, _, _ := strings.Cut(series, " ")
		got := "nothing"
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, name+" ") {
				got = line
			}
		}
		b.Errorf("/metrics has %q, want %q", strings.TrimSpace(got), series)
	}
}

func (b *scene) wantNoMetric(name string) {
	b.Helper()
	if strings.Contains(b.scrape(), "\n"+name+" ") {
		b.Errorf("/metrics has %s", name)
	}
}

func TestInitialTokenMetrics(t *testing.T) {
	inScene(t, func(b *scene) {
		b.wantMetrics(
			`authmaterial_token_requests_total{`+mail+`,result="refused"} 0`,
			`authmaterial_token_cache_answers_total{`+mail+`,tier="memory"} 0`,
			`authmaterial_token_wait_seconds_count{`+mail+`} 0`,
			`authmaterial_token_renewals_total{`+mail+`,when="late"} 0`,
			`authmaterial_token_forced_renewals_total{auth_method="oauth2_client_credentials",outcome="replaced",provider="sendpulse"} 0`,
			`authmaterial_changed_secrets_refused 0`,
			`authmaterial_watchers 0`,
		)
		b.wantNoMetric(`authmaterial_token_nearest_expiry_seconds{` + mail + `}`)
		for series := range strings.Lines(b.scrape()) {
			if strings.HasPrefix(series, "authmaterial_token_") && strings.Contains(series, `provider="pendo"`) {
				b.Errorf("a provider without tokens has %s", series)
			}
		}
	})
}

func TestMetricsOfTheLifeOfAToken(t *testing.T) {
	inScene(t, func(b *scene) {
		for range 3 {
			if _, err := b.get(); err != nil {
				b.Fatal(err)
			}
		}
		b.wantMetrics(
			`authmaterial_token_cache_answers_total{`+mail+`,tier="flight"} 1`,
			`authmaterial_token_cache_answers_total{`+mail+`,tier="memory"} 2`,
			`authmaterial_token_wait_seconds_count{`+mail+`} 1`,
			`authmaterial_token_nearest_expiry_seconds{`+mail+`} 3540`,
			`authmaterial_token_renewal_overdue_seconds{`+mail+`} 0`,
		)
		b.pass(56 * time.Minute) // the token is renewed after at most 55 minutes
		b.wantMetrics(`authmaterial_token_renewals_total{` + mail + `,when="early"} 1`)
		b.wantNoMetric(`authmaterial_token_nearest_expiry_seconds{` + mail + `}`) // the new token is not in use yet

		current, err := b.get()
		if err != nil {
			b.Fatal(err)
		}
		b.report(current)
		b.wantMetrics(`authmaterial_token_forced_renewals_total{auth_method="oauth2_client_credentials",outcome="replaced",provider="sendpulse"} 1`)
	})
}

func TestMetricsOfAProviderThatFails(t *testing.T) {
	inScene(t, func(b *scene) {
		if _, err := b.get(); err != nil {
			b.Fatal(err)
		}
		b.sim.SendPulse.FailTokenRequests(simulator.ServiceUnavailable(""))
		b.pass(57 * time.Minute)
		b.wantMetrics(
			`authmaterial_token_nearest_expiry_seconds{`+mail+`} 120`,
			`authmaterial_token_renewal_overdue_seconds{`+mail+`} 120`,
		)
		b.pass(2*time.Minute + 30*time.Second) // the token is within the safety margin before its expiry
		if _, err := b.get(); err != nil {
			b.Fatal(err)
		}
		b.wantMetrics(
			`authmaterial_token_cache_answers_total{`+mail+`,tier="margin"} 1`,
			`authmaterial_token_renewals_total{`+mail+`,when="late"} 1`,
			`authmaterial_token_nearest_expiry_seconds{`+mail+`} -30`,
		)
		b.pass(time.Hour)
		for range 2 {
			if _, err := b.get(); err == nil {
				b.Fatal("the broker returns a token that has expired")
			}
		}
		b.wantMetrics(
			`authmaterial_token_cache_answers_total{`+mail+`,tier="flight_failed"} 1`,
			`authmaterial_token_cache_answers_total{`+mail+`,tier="failure"} 1`,
		)
		b.wantNoMetric(`authmaterial_token_renewal_overdue_seconds{` + mail + `}`)
	})
}

func TestMetricsOfAChangedSecret(t *testing.T) {
	inScene(t, func(b *scene) {
		if _, err := b.get(); err != nil {
			b.Fatal(err)
		}
		b.reload("no-such-secret")
		b.wantMetrics(`authmaterial_changed_secrets_refused 1`)
		b.reload(b.sim.SendPulse.Client().Secret)
		b.wantMetrics(`authmaterial_changed_secrets_refused 0`)
		b.reload("no-such-secret")
		b.wantMetrics(`authmaterial_changed_secrets_refused 1`)
		b.pass(time.Hour) // the old token has expired
		b.wantMetrics(`authmaterial_changed_secrets_refused 0`)
	})
}

func TestMetricsOfAChangedSecretThatIsNotRefused(t *testing.T) {
	inScene(t, func(b *scene) {
		if _, err := b.get(); err != nil {
			b.Fatal(err)
		}
		b.sim.SendPulse.FailTokenRequests(simulator.ServiceUnavailable(""))
		b.reload("another-secret")
		if _, err := b.get(); err != nil {
			b.Fatal(err) // the old token should still be returned
		}
		b.wantMetrics(`authmaterial_changed_secrets_refused 0`)
	})
}

// The metrics describe the token that expires first, whichever is requested first.
func TestMetricsOfTheTokenThatExpiresNext(t *testing.T) {
	const another = `
  - id: another
    provider: sendpulse
    auth_method: oauth2_client_credentials
    values: {client_id: {env: ANOTHER_ID}, client_secret: {env: ANOTHER_SECRET}}
`
	for name, lifetimes := range map[string][2]time.Duration{
		"first":  {10 * time.Minute, time.Hour},
		"second": {time.Hour, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(b *scene) {
				client := b.sim.SendPulse.AddClient(simulator.Client{})
				err := b.server.Reload(func() (*config.Config, error) {
					return b.parse(func(name string) (string, bool) {
						switch name {
						case "ANOTHER_ID":
							return client.ID, true
						case "ANOTHER_SECRET":
							return client.Secret, true
						}
						return simulated.Environment(b.sim)(name)
					}, another), nil
				})
				if err != nil {
					b.Fatal(err)
				}
				for i, id := range []string{"token-of-mail", "another"} {
					b.sim.SendPulse.SetTokenLifetime(lifetimes[i])
					if _, err := b.client.GetAuthDecoration(b.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id}); err != nil {
						b.Fatal(err)
					}
				}
				b.wantMetrics(`authmaterial_token_nearest_expiry_seconds{` + mail + `} 540`)
			})
		})
	}
}

// reload loads a configuration with another client secret, and waits until the secret is in use.
func (b *scene) reload(secret string) {
	b.Helper()
	err := b.server.Reload(func() (*config.Config, error) {
		return b.parse(func(name string) (string, bool) {
			if name == "SENDPULSE_CLIENT_SECRET" {
				return secret, true
			}
			return simulated.Environment(b.sim)(name)
		}), nil
	})
	if err != nil {
		b.Fatal(err)
	}
	synctest.Wait()
}

func TestMetricOfWatchers(t *testing.T) {
	inScene(t, func(b *scene) {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		for range 2 {
			watch, err := b.client.WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"key-of-board"}})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := watch.Recv(); err != nil {
				b.Fatal(err)
			}
		}
		b.wantMetrics(`authmaterial_watchers 2`)
		cancel()
		synctest.Wait()
		b.wantMetrics(`authmaterial_watchers 0`)
	})
}

func TestPrometheusLint(t *testing.T) {
	inScene(t, func(b *scene) {
		b.exercise()
		problems, err := promlint.New(strings.NewReader(b.scrape())).Lint()
		if err != nil {
			b.Fatal(err)
		}
		for _, problem := range problems {
			b.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	})
}

// TestMetricsContainNoIDAndNoSecret also looks at the metrics after a refused token request.
func TestMetricsContainNoIDAndNoSecret(t *testing.T) {
	inScene(t, func(b *scene) {
		b.exercise()
		b.reload("no-such-secret")
		text := b.scrape()
		if slices.ContainsFunc(b.sim.Secrets(), func(secret string) bool { return strings.Contains(text, secret) }) {
			b.Error("/metrics contains a secret")
		}
		for _, id := range []string{"token-of-mail", "key-of-board"} {
			if strings.Contains(text, id) {
				b.Errorf("/metrics contains the credential ID %s", id)
			}
		}
	})
}
