package server

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/authmaterial/broker/internal/strategies"
)

// metrics are what /metrics shows. Credential IDs are never labels.
type metrics struct {
	registry    *prometheus.Registry
	calls       *callMetrics
	tokens      *tokenMetrics
	static      *staticMetrics
	credentials prometheus.Gauge
	generation  prometheus.Counter
	reloadOK    prometheus.Gauge
	loadedAt    prometheus.Gauge
}

func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		tokens:   newTokenMetrics(),
		static:   newStaticMetrics(),
		credentials: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "authmaterial_credentials",
			Help: "Credentials in the configuration, disabled ones included.",
		}),
		generation: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "authmaterial_config_loads_total",
			Help: "Configurations that were taken into use: 1 for that of the start, and 1 for each good reload.",
		}),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "authmaterial_config_last_reload_successful",
			Help: "1 when the configuration that was read last is served, 0 when it had problems.",
		}),
		loadedAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "authmaterial_config_last_load_timestamp_seconds",
			Help: "When the configuration that is served was loaded, in Unix time.",
		}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "authmaterial_build_info",
		Help: "1, labelled by the broker's version.",
	}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	m.calls = newCallMetrics(m.registry)
	m.tokens.register(m.registry)
	m.registry.MustRegister(m.static.reports, build, m.credentials, m.generation, m.reloadOK, m.loadedAt,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observeTokenRequests counts each token request, and logs it.
func observeTokenRequests(log tokenLog, m *metrics) func(strategies.TokenRequestEvent) {
	return func(event strategies.TokenRequestEvent) {
		m.tokens.requests.WithLabelValues(event.Provider, event.AuthMethod, string(event.Result)).Inc()
		if event.Result != strategies.ResultOverBudget {
			m.tokens.latency.WithLabelValues(event.Provider, event.AuthMethod).Observe(event.Duration.Seconds())
		}
		line := log.of(event.TokenKey).With("provider", event.Provider, "auth_method", event.AuthMethod)
		if event.Err != nil {
			line.Warn("no token issued", "took", event.Duration, "result", string(event.Result), "message", event.Err.Message)
			return
		}
		line.Info("token issued", "took", event.Duration)
		if event.LifetimeAssumed {
			line.Warn("the token answer has no readable expires_in: its tokens get the method's default_lifetime")
		}
	}
}
