package server

import (
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
)

// scrapeMetrics are computed when somebody looks at them.
type scrapeMetrics struct {
	broker *broker.Broker
	tokens *cache.Cache
	clock  clockwork.Clock

	nearestExpiry  *prometheus.Desc
	overdue        *prometheus.Desc
	watchers       *prometheus.Desc
	refusedSecrets *prometheus.Desc
}

func newScrapeMetrics(b *broker.Broker, tokens *cache.Cache, clock clockwork.Clock) *scrapeMetrics {
	kind := []string{"provider", "auth_method"}
	return &scrapeMetrics{
		broker: b,
		tokens: tokens,
		clock:  clock,
		nearestExpiry: prometheus.NewDesc("authmaterial_token_nearest_expiry_seconds",
			"How long the token in use that expires next may still be used. Negative in its safety margin; absent while no token is in use.", kind, nil),
		overdue: prometheus.NewDesc("authmaterial_token_renewal_overdue_seconds",
			"How long ago the latest time was to begin the renewal of a token in use. 0 when none is overdue; absent while no token is in use.", kind, nil),
		watchers: prometheus.NewDesc("authmaterial_watchers", "Streams that follow credentials.", nil, nil),
		refusedSecrets: prometheus.NewDesc("authmaterial_changed_secrets_refused",
			"Credentials that are served by their former token, because the provider refuses their changed secret.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *scrapeMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.nearestExpiry, m.overdue, m.watchers, m.refusedSecrets} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (m *scrapeMetrics) Collect(found chan<- prometheus.Metric) {
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		found <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	gauge(m.watchers, float64(m.broker.Watchers()))
	gauge(m.refusedSecrets, float64(m.broker.RefusedSecrets()))
	for k, d := range m.dues() {
		gauge(m.nearestExpiry, d.left.Seconds(), k.provider, k.method)
		gauge(m.overdue, d.overdue.Seconds(), k.provider, k.method)
	}
}

// tokenKind is what tokens are labelled by.
type tokenKind struct{ provider, method string }

// due is the least that is left of a token, and the longest that a renewal is overdue.
type due struct{ left, overdue time.Duration }

// dues returns that of each kind with a token in use.
func (m *scrapeMetrics) dues() map[tokenKind]due {
	now := m.clock.Now()
	found := map[tokenKind]due{}
	for source, token := range m.tokens.Served() {
		var k tokenKind
		k.provider, k.method = kindOf(source)
		d, known := found[k]
		if left := token.ExpireTime().Sub(now); !known || left < d.left {
			d.left = left
		}
		d.overdue = max(d.overdue, now.Sub(token.RenewTime(1)))
		found[k] = d
	}
	return found
}
