package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/strategies"
)

// The values of labels.
var (
	results = [...]strategies.Result{
		strategies.ResultOK, strategies.ResultRefused, strategies.ResultRateLimited,
		strategies.ResultUnavailable, strategies.ResultOverBudget,
	}
	tierNames = [...]string{
		cache.FromMemory: "memory", cache.FromFlight: "flight", cache.FromMargin: "margin",
		cache.FromFailure: "failure", cache.FlightFailed: "flight_failed", cache.GaveUp: "gave_up",
	}
	renewalNames = [...]string{cache.Early: "early", cache.Late: "late"}
	forcedNames  = [...]string{
		cache.ForcedReplaced: "replaced", cache.ForcedLimited: "limited",
		cache.ForcedSameToken: "same_token", cache.ForcedFailed: "failed",
	}
)

// tokenMetrics are about tokens, by provider and auth method. Each series of a kind of
// credential that is configured is there from the start, at 0: an increase is seen from
// the first event on.
type tokenMetrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	answers  *prometheus.CounterVec
	waits    *prometheus.HistogramVec
	renewals *prometheus.CounterVec
	forced   *prometheus.CounterVec
}

func newTokenMetrics() *tokenMetrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"provider", "auth_method", label})
	}
	histogram := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"provider", "auth_method"})
	}
	return &tokenMetrics{
		requests: counter("authmaterial_token_requests_total", "Token requests by what came of them.", "result"),
		latency: histogram("authmaterial_token_request_duration_seconds", "How long token requests took.",
			.05, .1, .25, .5, 1, 2.5, 5, 10),
		answers: counter("authmaterial_token_cache_answers_total", "Answers of the token cache by where they came from.", "tier"),
		waits: histogram("authmaterial_token_wait_seconds", "How long callers waited for a token that was not at hand.",
			.005, .025, .1, .25, .5, 1, 2.5, 5, 10, 15),
		renewals: counter("authmaterial_token_renewals_total",
			"Renewals of tokens that were in use: early, in the background before they expired; or late, after a caller found one expired.", "when"),
		forced: counter("authmaterial_token_forced_renewals_total", "Renewals of tokens that callers reported as rejected, by what came of them.", "outcome"),
	}
}

// register adds the metrics to a registry.
func (m *tokenMetrics) register(registry prometheus.Registerer) {
	registry.MustRegister(m.requests, m.latency, m.answers, m.waits, m.renewals, m.forced)
}

// prepare makes the series of every kind of credential in the configuration that needs
// a token.
func (m *tokenMetrics) prepare(c *config.Config) {
	for credential := range c.Credentials.All() {
		if credential.Method.TokenRequest == nil {
			continue
		}
		provider, method := credential.Provider.ID, credential.Method.ID
		for _, result := range results {
			m.requests.WithLabelValues(provider, method, string(result))
		}
		m.latency.WithLabelValues(provider, method)
		m.of(provider, method)
	}
}

// of returns the counters of one kind.
func (m *tokenMetrics) of(provider, method string) *tokenObserver {
	o := &tokenObserver{provider: provider, method: method, waits: m.waits.WithLabelValues(provider, method)}
	for tier, name := range tierNames {
		o.answers[tier] = m.answers.WithLabelValues(provider, method, name)
	}
	for when, name := range renewalNames {
		o.renewals[when] = m.renewals.WithLabelValues(provider, method, name)
	}
	for outcome, name := range forcedNames {
		o.forced[outcome] = m.forced.WithLabelValues(provider, method, name)
	}
	return o
}

// observe returns the counters of a source, for the token cache.
func (m *tokenMetrics) observe(source cache.Source) *tokenObserver { return m.of(kindOf(source)) }

// kindOf returns the provider and the auth method of a source.
func kindOf(source cache.Source) (provider, method string) {
	if known, ok := source.(*strategies.TokenSource); ok {
		return known.Kind()
	}
	return "unknown", "unknown"
}

// tokenObserver counts what becomes of a token. A warm call costs it one atomic add.
type tokenObserver struct {
	provider, method string

	answers  [len(tierNames)]prometheus.Counter
	waits    prometheus.Observer
	renewals [len(renewalNames)]prometheus.Counter
	forced   [len(forcedNames)]prometheus.Counter
}

// Warm implements cache.Observer.
func (o *tokenObserver) Warm() cache.Counter { return o.answers[cache.FromMemory] }

// Answered implements cache.Observer.
func (o *tokenObserver) Answered(tier cache.Tier) { o.answers[tier].Inc() }

// Waited implements cache.Observer.
func (o *tokenObserver) Waited(wait time.Duration) { o.waits.Observe(wait.Seconds()) }

// Renewed implements cache.Observer.
func (o *tokenObserver) Renewed(when cache.Renewal) { o.renewals[when].Inc() }

// Forced implements cache.Observer.
func (o *tokenObserver) Forced(outcome cache.Forced) { o.forced[outcome].Inc() }
