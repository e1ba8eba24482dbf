// Package observe shows operators what the broker does: metrics, log lines about calls and tokens,
// and trace spans. Only this package depends on Prometheus and OpenTelemetry. Each observed package
// declares a small interface that a type of this package implements.
package observe

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/ratelimit"
)

const (
	// maxScrapes is the maximum number of concurrent requests for metrics. Requests over the limit
	// get the HTTP status 503.
	maxScrapes = 10
	// limitInterval is the shortest time between two log lines about the same limit.
	limitInterval = time.Minute
)

// Options configure an Observer. Every option is required.
type Options struct {
	Logger *slog.Logger
	// Clock is the clock by which tokens expire.
	Clock clockwork.Clock
	// Version is the broker's version.
	Version string
	// CredentialsOf returns the IDs of the credentials that use the token with this key.
	CredentialsOf func(tokenKey string) []string
	// StoredVersionsOf returns the versions of managed credentials that use the token with this key.
	StoredVersionsOf func(tokenKey string) []string
}

// Observer has the metrics of one server, and logs what happens to its calls and tokens. No metric
// has a credential ID as a label. Observer is safe for concurrent use.
type Observer struct {
	Options
	metrics metrics
	calls   callMetrics
	lines   *lineLimiter
	tokens  tokenMetrics

	credentials, lastLoadOK, lastLoad prometheus.Gauge
	loads                             prometheus.Counter
	limited                           *prometheus.CounterVec
	limitLines                        *ratelimit.Limiter[admission.Limit]
	authentications                   *prometheus.CounterVec
	certificateExpiry                 func() prometheus.Gauge // a function whose first call creates the gauge
}

// New returns an Observer.
func New(options Options) *Observer {
	m := metrics{prometheus.NewRegistry()}
	m.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := m.gauges("authmaterial_build_info", "The value is always 1. The label `version` contains the broker's version.", "version")
	build.WithLabelValues(options.Version).Set(1)
	o := &Observer{
		Options:     options,
		metrics:     m,
		calls:       newCallMetrics(m),
		lines:       newLineLimiter(m, options.Logger),
		tokens:      newTokenMetrics(m),
		credentials: m.gauge("authmaterial_credentials", "Credentials in the configuration, including disabled ones."),
		lastLoadOK: m.gauge("authmaterial_config_last_reload_successful",
			"1 if the configuration that was read last is in use, 0 if it had problems."),
		lastLoad: m.gauge("authmaterial_config_last_load_timestamp_seconds",
			"Unix time at which the configuration in use was loaded."),
		loads: m.counters("authmaterial_config_loads_total",
			"Configurations that were put into use, at the start and by reloads.").WithLabelValues(),
		limited: m.counters("authmaterial_limited_total",
			"Connections, calls and watches that were refused or closed because of a limit. "+
				"A denial is counted only if it has no audit line of its own.", "limit"),
		limitLines: ratelimit.New[admission.Limit](1/limitInterval.Seconds(), 1, len(admission.AllLimits)),
		authentications: m.counters("authmaterial_authentications_total",
			"Authentications of calls and TLS handshakes, by method and result.", "method", "result"),
		certificateExpiry: sync.OnceValue(func() prometheus.Gauge {
			return m.gauge("authmaterial_tls_certificate_expiry_timestamp_seconds",
				"Unix time at which the first certificate in the broker's certificate chain expires. Absent without TLS.")
		}),
	}
	for _, limit := range admission.AllLimits {
		o.limited.WithLabelValues(string(limit))
	}
	return o
}

// Close logs the number of lines that were suppressed since the last report.
func (o *Observer) Close() { o.lines.report() }

// Metrics returns an HTTP handler that answers requests for all metrics.
func (o *Observer) Metrics() http.Handler {
	return promhttp.HandlerFor(o.metrics, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}

// Loaded records that a configuration has been put into use. Loaded creates the time series for
// every kind of credential with the value 0, so that the first event is visible as an increase.
func (o *Observer) Loaded(c *config.Config) {
	o.lastLoadOK.Set(1)
	o.lastLoad.Set(float64(time.Now().UnixMilli()) / 1000)
	o.loads.Inc()
	o.tokens.create(c)
	o.credentials.Set(float64(c.Credentials.Len()))
	o.Logger.Info("configuration loaded", "credentials", c.Credentials.Len())
}

// LoadFailed records that the configuration that was read last has problems.
func (o *Observer) LoadFailed() { o.lastLoadOK.Set(0) }

// LimitReached counts and logs that a limit was reached, without waiting for the log. An empty
// caller means that the caller is unknown.
func (o *Observer) LimitReached(limit admission.Limit, caller string) {
	if o.limitLines.Take(limit, 1, time.Now()) == 0 {
		go o.Logger.Warn("a limit was reached; the metric authmaterial_limited_total counts how often",
			"limit", string(limit), "caller", caller)
	}
	o.limited.WithLabelValues(string(limit)).Inc()
}

// Authentications returns the counters of an authentication method.
func (o *Observer) Authentications(method string) authentication.Counts {
	of := func(result string) prometheus.Counter { return o.authentications.WithLabelValues(method, result) }
	return authentication.Counts{
		OK: of("ok"), Refused: o.Refused(method), Deferred: of("deferred"), Unavailable: of("unavailable"),
	}
}

// Refused returns the counter of tokens and certificates that an authentication method refused.
func (o *Observer) Refused(method string) prometheus.Counter {
	return o.authentications.WithLabelValues(method, "refused")
}

// CertificateLoaded records when the certificate of the listeners expires.
func (o *Observer) CertificateLoaded(expires time.Time) {
	o.certificateExpiry().Set(float64(expires.Unix()))
}

// AuditRecords returns the counters of audit records, by the label `result`.
func (o *Observer) AuditRecords() *prometheus.CounterVec {
	return o.metrics.counters("authmaterial_audit_records_total",
		"Audit records by result.", "result")
}

// metrics is a registry with methods that create and register metrics.
type metrics struct{ *prometheus.Registry }

func (m metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return promauto.With(m).NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func (m metrics) gauge(name, help string) prometheus.Gauge {
	return m.gauges(name, help).WithLabelValues()
}

func (m metrics) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return promauto.With(m).NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

// gaugeFunc creates a gauge whose value is computed for each request for metrics.
func (m metrics) gaugeFunc(name, help string, value func() int) {
	scraped := func() float64 { return float64(value()) }
	promauto.With(m).NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, scraped)
}

func (m metrics) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return promauto.With(m).NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}
