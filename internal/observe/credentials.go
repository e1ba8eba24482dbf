package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/management"
)

var credentialStates = []broker.State{
	broker.Ready, broker.NotYetUsed, broker.RenewalFailing, broker.Refused, broker.Unavailable, broker.Disabled, management.Deleted,
}

// ScrapeManagement adds the metrics about credentials and their store, which are computed for each
// request for metrics.
func (o *Observer) ScrapeManagement(m *management.Service) {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	states := describe("authmaterial_credentials_by_state",
		"Declared and managed credentials by state, as this replica knows them.", "state")
	shadowed := describe("authmaterial_credentials_shadowed",
		"Managed credentials that callers do not get, because the configuration file declares a credential with the same ID.")
	age := describe("authmaterial_secret_oldest_age_seconds",
		"Longest time since the active version of a managed credential was activated. Disabled credentials do not count.", "provider")
	expiry := describe("authmaterial_secret_nearest_expiry_seconds",
		"Shortest time until the `secret_expire_time` of a credential that is not disabled. Negative if the `secret_expire_time` has passed.", "provider")
	up := describe("authmaterial_store_up",
		"1 if the latest attempt to read the credential store succeeded, 0 otherwise. Absent without a store.")
	staleness := describe("authmaterial_store_staleness_seconds",
		"Time since the broker last had all changes of the credential store. Absent until the store was read.")
	o.metrics.MustRegister(prometheus.CollectorFunc(func(found chan<- prometheus.Metric) {
		gauge := func(of *prometheus.Desc, value float64, labels ...string) {
			found <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value, labels...)
		}
		counts := m.States()
		for _, state := range credentialStates {
			gauge(states, float64(counts[state]), string(state))
		}
		_, count := m.Shadowed(0)
		gauge(shadowed, float64(count))
		for provider, of := range m.Secrets() {
			if !of.OldestActivation.IsZero() {
				gauge(age, time.Since(of.OldestActivation).Seconds(), provider)
			}
			if !of.NearestExpiry.IsZero() {
				gauge(expiry, time.Until(of.NearestExpiry).Seconds(), provider)
			}
		}
		if store := m.Dependency(); store.Configured {
			available := 0.0
			if store.Available {
				available = 1
			}
			gauge(up, available)
			if store.Staleness != 0 {
				gauge(staleness, store.Staleness.Seconds())
			}
		}
	}))
}
