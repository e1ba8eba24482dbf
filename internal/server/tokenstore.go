package server

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
)

// tokenStore is where tokens lie: in Redis where the configuration says so, and in
// memory otherwise.
type tokenStore struct {
	store    cache.Store
	close    func() // after the cache in front of it
	degraded atomic.Bool

	operations *prometheus.CounterVec
	latency    prometheus.Histogram
	unreadable *prometheus.CounterVec
	state      prometheus.Gauge
}

func newTokenStore(options Options, keys *fleetkeys.Ring, m *metrics) *tokenStore {
	redis := options.Config.TokenCache.Redis
	if redis == nil {
		return &tokenStore{store: cache.NewMemory(options.Clock), close: func() {}}
	}
	t := &tokenStore{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authmaterial_redis_operations_total",
			Help: "Operations on Redis by what came of them: ok, gave_up when the caller's time was up, not_tried while Redis is out of reach, overload when there were too many at once, or a word for what failed.",
		}, []string{"operation", "result"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "authmaterial_redis_operation_duration_seconds",
			Help:    "How long operations on Redis took that were tried. Reading the stream of changes is not among them: it waits.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25},
		}),
		unreadable: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authmaterial_redis_unreadable_entries_total",
			Help: "Entries in Redis that counted as missing, because they could not be read: of an unknown format, under an unknown fleet key, damaged, or without an end.",
		}, []string{"cause"}),
		state: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "authmaterial_token_cache_degraded",
			Help: "1 while Redis is out of reach and this replica obtains tokens for itself, 0 otherwise.",
		}),
	}
	for _, cause := range []string{"format", "key", "damaged", "no_end"} {
		t.unreadable.WithLabelValues(cause)
	}
	m.registry.MustRegister(t.operations, t.latency, t.unreadable, t.state)
	shared := redisstore.New(redisstore.Options{
		Server:   redisServer(redis),
		Keys:     keys,
		Clock:    options.Clock,
		Logger:   options.Logger,
		Observer: t,
	})
	t.store, t.close = cache.NewFallback(shared, options.Clock), shared.Close
	return t
}

func redisServer(c *config.Redis) redisstore.Server {
	return redisstore.Server{
		Addresses:        c.Addresses,
		SentinelMaster:   c.SentinelMaster,
		Cluster:          c.Cluster,
		Database:         c.Database,
		Username:         c.Username,
		Password:         c.Password,
		SentinelUsername: c.SentinelUsername,
		SentinelPassword: c.SentinelPassword,
		TLS:              c.TLS,
	}
}

// Operated implements redisstore.Observer.
func (t *tokenStore) Operated(operation, result string, took time.Duration) {
	t.operations.WithLabelValues(operation, result).Inc()
	if operation != "read" && result != "not_tried" && result != "overload" {
		t.latency.Observe(took.Seconds())
	}
}

// Unreadable implements redisstore.Observer.
func (t *tokenStore) Unreadable(cause string) { t.unreadable.WithLabelValues(cause).Inc() }

// Degraded implements redisstore.Observer.
func (t *tokenStore) Degraded(is bool) {
	t.degraded.Store(is)
	t.state.Set(map[bool]float64{true: 1}[is])
}
