package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
)

// Scrape adds the metrics that are computed for each scrape.
func (o *Observer) Scrape(b *broker.Broker, tokens *cache.Cache) {
	o.metrics.gaugeFunc("authmaterial_watchers", "Open watches of credentials.", b.Watchers)
	o.metrics.gaugeFunc("authmaterial_changed_secrets_refused",
		"Credentials with their previous token, because the provider refuses their changed secret.", b.RefusedSecrets)
	kind := []string{"provider", "auth_method"}
	expiry := prometheus.NewDesc("authmaterial_token_nearest_expiry_seconds",
		"How long the token in use that expires next may still be used. Negative within its safety margin; "+
			"absent while no token is in use.", kind, nil)
	overdue := prometheus.NewDesc("authmaterial_token_renewal_overdue_seconds",
		"How long ago the renewal of a token in use should have begun. 0 if none is overdue; "+
			"absent while no token is in use.", kind, nil)
	o.metrics.MustRegister(prometheus.CollectorFunc(func(found chan<- prometheus.Metric) {
		gauge := func(of *prometheus.Desc, value time.Duration, k tokenKind) {
			found <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value.Seconds(), k.provider, k.method)
		}
		for k, d := range deadlinesOf(tokens, o.Clock.Now()) {
			gauge(expiry, d.expiry, k)
			gauge(overdue, d.overdue, k)
		}
	}))
}

// tokenKind is a kind of credential, by which tokens are labelled.
type tokenKind struct{ provider, method string }

// deadlines are the time until the next expiry, and how long the longest overdue renewal is overdue.
type deadlines struct{ expiry, overdue time.Duration }

// deadlinesOf returns the deadlines of the tokens in use.
func deadlinesOf(tokens *cache.Cache, now time.Time) map[tokenKind]deadlines {
	found := map[tokenKind]deadlines{}
	for source, token := range tokens.Served() {
		var k tokenKind
		k.provider, k.method = kindOf(source)
		d, known := found[k]
		if left := token.ExpireTime().Sub(now); !known || left < d.expiry {
			d.expiry = left
		}
		d.overdue = max(d.overdue, now.Sub(token.RenewTime(1)))
		found[k] = d
	}
	return found
}
