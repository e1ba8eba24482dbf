package observe

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/strategies"
)

// maxLoggedIDs is the maximum number of credential IDs in a log line.
const maxLoggedIDs = 10

// overBudget is the result of token requests that were not sent because of the broker's own limit.
const overBudget = "over_budget"

// These lists contain the values of metric labels.
var (
	requestResults = []string{"ok", "refused", "rate_limited", "unavailable", overBudget}
	tiers          = []string{
		cache.FromMemory: "memory", cache.FromRefresh: "flight", cache.FromMargin: "margin",
		cache.FromFailure: "failure", cache.RefreshFailed: "flight_failed", cache.GaveUp: "gave_up",
	}
	renewals       = []string{cache.Early: "early", cache.Late: "late"}
	forcedOutcomes = []string{
		cache.ForcedReplaced: "replaced", cache.ForcedLimited: "limited",
		cache.ForcedSameToken: "same_token", cache.ForcedFailed: "failed",
	}
	staticReports = []string{
		broker.StaticRejected: "rejected", broker.StaticOutdated: "outdated", broker.StaticOtherStatus: "other_status",
	}
	usageReports = []string{"current", "other"}
)

// tokenMetrics are the metrics about tokens and static material. The labels of these metrics are
// the provider and the auth method.
type tokenMetrics struct {
	requests, answers, renewals, forced, staticReports, usageReports *prometheus.CounterVec
	durations, waits                                                 *prometheus.HistogramVec
}

func newTokenMetrics(m metrics) tokenMetrics {
	counters := func(name, help, label string) *prometheus.CounterVec {
		return m.counters(name, help, "provider", "auth_method", label)
	}
	histograms := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return m.histograms(name, help, buckets, "provider", "auth_method")
	}
	return tokenMetrics{
		requests: counters("authmaterial_token_requests_total", "Token requests by result.", "result"),
		answers:  counters("authmaterial_token_cache_answers_total", "Answers of the token cache by source.", "tier"),
		renewals: counters("authmaterial_token_renewals_total",
			"Renewals of tokens in use, before or after the token expired.", "when"),
		forced: counters("authmaterial_token_forced_renewals_total",
			"Renewals of tokens that callers reported as rejected, by outcome.", "outcome"),
		staticReports: counters("authmaterial_static_reports_total",
			"Callers' reports of rejected static material, by kind of report.", "report"),
		usageReports: counters("authmaterial_usage_reports_total",
			"Versions of material in callers' reports of usage, by whether the broker sends the version now.", "version"),
		durations: histograms("authmaterial_token_request_duration_seconds", "Duration of token requests.",
			.05, .1, .25, .5, 1, 2.5, 5, 10),
		waits: histograms("authmaterial_token_wait_seconds", "How long callers waited for a token.",
			.005, .025, .1, .25, .5, 1, 2.5, 5, 10, 15),
	}
}

// create creates the time series for every kind of credential in a configuration.
func (m *tokenMetrics) create(c *config.Config) {
	for credential := range c.Credentials.All() {
		k := kind{credential.Provider.ID, credential.Method.ID}
		countersOf(m.usageReports, k, usageReports)
		if !credential.Method.HasToken() {
			countersOf(m.staticReports, k, staticReports)
			continue
		}
		countersOf(m.requests, k, requestResults)
		m.durations.WithLabelValues(k.provider, k.method)
		m.observer(k)
	}
}

// countersOf returns the counters of a kind of credential, one for each of the values of the last
// label.
func countersOf(all *prometheus.CounterVec, k kind, values []string) []prometheus.Counter {
	counters := make([]prometheus.Counter, len(values))
	for i, value := range values {
		counters[i] = all.WithLabelValues(k.provider, k.method, value)
	}
	return counters
}

// StaticReported counts a caller's report that a provider rejected static material.
func (o *Observer) StaticReported(provider, method string, report broker.StaticReport) {
	o.tokens.staticReports.WithLabelValues(provider, method, staticReports[report]).Inc()
}

// UsageReported counts a version in a caller's report of usage. The parameter `current` reports
// whether the broker sends this version to callers now.
func (o *Observer) UsageReported(provider, method string, current bool) {
	version := "other"
	if current {
		version = "current"
	}
	o.tokens.usageReports.WithLabelValues(provider, method, version).Inc()
}

// TokenRequested counts and logs a token request.
func (o *Observer) TokenRequested(event strategies.TokenRequestEvent) {
	result := requestResult(event)
	o.tokens.requests.WithLabelValues(event.Provider, event.AuthMethod, result).Inc()
	if result != overBudget {
		o.tokens.durations.WithLabelValues(event.Provider, event.AuthMethod).Observe(event.Duration.Seconds())
	}
	logger := o.tokenLogger(event.TokenKey).With("provider", event.Provider, "auth_method", event.AuthMethod)
	if event.Err != nil {
		logger.Warn("no token issued", "took", event.Duration, "result", result, "message", event.Err.Message)
		return
	}
	logger.Info("token issued", "took", event.Duration)
	if event.LifetimeAssumed {
		logger.Warn("the token answer has no valid expires_in: the token gets the auth method's default_lifetime")
	}
}

func requestResult(event strategies.TokenRequestEvent) string {
	if event.Err == nil {
		return "ok"
	}
	switch event.Err.Reason {
	case fault.CredentialRejected:
		return "refused"
	case fault.ProviderRateLimited:
		return "rate_limited"
	case fault.RateLimited:
		return overBudget
	default:
		return "unavailable"
	}
}

// tokenLogger returns a logger for lines about a token. The lines name the credentials that use the
// token, but never the token's key.
func (o *Observer) tokenLogger(key string) *slog.Logger {
	ids := o.CredentialsOf(key)
	logger := o.Logger.With("credential_ids", ids[:min(len(ids), maxLoggedIDs)])
	if more := len(ids) - maxLoggedIDs; more > 0 {
		logger = logger.With("more_credentials", more)
	}
	if versions := o.StoredVersionsOf(key); len(versions) > 0 {
		logger = logger.With("stored_versions", versions[:min(len(versions), maxLoggedIDs)])
	}
	return logger
}

// Token returns a cache.Observer, which the cache informs about the token of the given source.
func (o *Observer) Token(source cache.Source) cache.Observer {
	t := o.tokens.observer(kindOf(source))
	t.observer, t.key = o, source.TokenKey()
	return t
}

// kind is a kind of credential: its provider and its auth method. Metrics have the provider and the
// auth method as labels.
type kind struct{ provider, method string }

func kindOf(source cache.Source) kind {
	k := kind{"unknown", "unknown"}
	if known, ok := source.(*strategies.TokenSource); ok {
		k.provider, k.method = known.Kind()
	}
	return k
}

// tokenObserver counts and logs what happens to a token. It implements cache.Observer.
type tokenObserver struct {
	kind
	observer *Observer
	key      string

	answers, renewals, forced []prometheus.Counter // the counters are indexed by cache.Tier, cache.Renewal and cache.Forced
	waits                     prometheus.Observer
}

func (m *tokenMetrics) observer(k kind) *tokenObserver {
	return &tokenObserver{
		kind:     k,
		answers:  countersOf(m.answers, k, tiers),
		renewals: countersOf(m.renewals, k, renewals),
		forced:   countersOf(m.forced, k, forcedOutcomes),
		waits:    m.waits.WithLabelValues(k.provider, k.method),
	}
}

func (t *tokenObserver) Warm() cache.Counter         { return t.answers[cache.FromMemory] }
func (t *tokenObserver) Answered(tier cache.Tier)    { t.answers[tier].Inc() }
func (t *tokenObserver) Waited(wait time.Duration)   { t.waits.Observe(wait.Seconds()) }
func (t *tokenObserver) Renewed(when cache.Renewal)  { t.renewals[when].Inc() }
func (t *tokenObserver) Forced(outcome cache.Forced) { t.forced[outcome].Inc() }

func (t *tokenObserver) RenewalFailed(err error, next, end time.Time) {
	known, o := fault.From(err), t.observer
	logger := o.tokenLogger(t.key).With("reason", string(known.Reason), "message", known.Message,
		"token_ends", clock.Wall(o.Clock, end))
	if next.Before(end) {
		logger = logger.With("next_attempt", clock.Wall(o.Clock, next))
	}
	logger.Warn("background renewal of a token failed", "provider", t.provider, "auth_method", t.method)
}

// Scrape adds the metrics whose values are computed for each request for metrics.
func (o *Observer) Scrape(b *broker.Broker, tokens *cache.Cache) {
	o.metrics.gaugeFunc("authmaterial_watchers", "Open watches of credentials.", b.Watchers)
	o.metrics.gaugeFunc("authmaterial_changed_secrets_refused",
		"Credentials that still use their previous token, because the provider refuses their changed secret.", b.RefusedSecrets)
	labels := []string{"provider", "auth_method"}
	expiry := prometheus.NewDesc("authmaterial_token_nearest_expiry_seconds",
		"Shortest time until a token in use expires. Negative while callers get a token in its safety margin.", labels, nil)
	overdue := prometheus.NewDesc("authmaterial_token_renewal_overdue_seconds",
		"How long ago the renewal of a token in use should have begun. 0 if no renewal is overdue.", labels, nil)
	o.metrics.MustRegister(prometheus.CollectorFunc(func(found chan<- prometheus.Metric) {
		gauge := func(of *prometheus.Desc, value time.Duration, k kind) {
			found <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value.Seconds(), k.provider, k.method)
		}
		for k, d := range deadlinesOf(tokens, o.Clock.Now()) {
			gauge(expiry, d.expiry, k)
			gauge(overdue, d.overdue, k)
		}
	}))
}

// deadlines contains the time until the next token expires, and the time since the most overdue
// renewal should have begun.
type deadlines struct{ expiry, overdue time.Duration }

func deadlinesOf(tokens *cache.Cache, now time.Time) map[kind]deadlines {
	found := map[kind]deadlines{}
	for source, token := range tokens.Served() {
		k := kindOf(source)
		d, known := found[k]
		if left := token.ExpireTime().Sub(now); !known || left < d.expiry {
			d.expiry = left
		}
		d.overdue = max(d.overdue, now.Sub(token.RenewTime(1)))
		found[k] = d
	}
	return found
}
