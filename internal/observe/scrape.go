package observe

import (
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
)

// Scrape adds the metrics that are computed for each scrape.
func (o *Observer) Scrape(b *broker.Broker, tokens *cache.Cache) {
	o.metrics.gaugeFunc("authmaterial_watchers", "Open watches of credentials.", b.Watchers)
	o.metrics.gaugeFunc("authmaterial_changed_secrets_refused",
		"Credentials that are served by their previous token, because the provider refuses their changed secret.", b.RefusedSecrets)
	kind := []string{"provider", "auth_method"}
	o.metrics.MustRegister(deadlines{
		tokens: tokens, clock: o.Clock,
		expiry: prometheus.NewDesc("authmaterial_token_nearest_expiry_seconds",
			"How long the token in use that expires next may still be used. Negative within its safety margin; absent while no token is in use.", kind, nil),
		overdue: prometheus.NewDesc("authmaterial_token_renewal_overdue_seconds",
			"How long ago the renewal of a token in use should have begun. 0 if none is overdue; absent while no token is in use.", kind, nil),
	})
}

// deadlines is the prometheus.Collector of two gauges about the tokens in use.
type deadlines struct {
	tokens          *cache.Cache
	clock           clockwork.Clock
	expiry, overdue *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (d deadlines) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- d.expiry
	descriptions <- d.overdue
}

// Collect implements prometheus.Collector.
func (d deadlines) Collect(found chan<- prometheus.Metric) {
	type kind struct{ provider, method string }
	type nearest struct{ expiry, overdue time.Duration }
	byKind := map[kind]nearest{}
	now := d.clock.Now()
	for source, token := range d.tokens.Served() {
		var k kind
		k.provider, k.method = kindOf(source)
		n, known := byKind[k]
		if left := token.ExpireTime().Sub(now); !known || left < n.expiry {
			n.expiry = left
		}
		n.overdue = max(n.overdue, now.Sub(token.RenewTime(1)))
		byKind[k] = n
	}
	for k, n := range byKind {
		found <- prometheus.MustNewConstMetric(d.expiry, prometheus.GaugeValue, n.expiry.Seconds(), k.provider, k.method)
		found <- prometheus.MustNewConstMetric(d.overdue, prometheus.GaugeValue, n.overdue.Seconds(), k.provider, k.method)
	}
}
