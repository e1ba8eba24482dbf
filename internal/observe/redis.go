package observe

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Redis observes the operations of a Redis store. It implements redisstore.Observer.
type Redis struct {
	// OutOfReach reports whether Redis cannot be reached.
	OutOfReach atomic.Bool

	operations, unreadable *prometheus.CounterVec
	durations              prometheus.Observer
	degraded               prometheus.Gauge
}

// Redis returns the observer of a Redis store.
func (o *Observer) Redis() *Redis {
	r := &Redis{
		operations: o.metrics.counters("authmaterial_redis_operations_total",
			"Operations on Redis by result.",
			"operation", "result"),
		unreadable: o.metrics.counters("authmaterial_redis_unreadable_entries_total",
			"Entries in Redis that count as missing because they could not be read, by cause.",
			"cause"),
		durations: o.metrics.histograms("authmaterial_redis_operation_duration_seconds",
			"Duration of operations that were sent to Redis, except reads that wait for changes.",
			[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25}).WithLabelValues(),
		degraded: o.metrics.gauge("authmaterial_token_cache_degraded",
			"1 while Redis is out of reach and this replica obtains tokens for itself, 0 otherwise."),
	}
	for _, cause := range []string{"format", "key", "damaged", "no_end"} {
		r.unreadable.WithLabelValues(cause)
	}
	return r
}

// Operated counts an operation on Redis.
func (r *Redis) Operated(operation, result string, took time.Duration) {
	r.operations.WithLabelValues(operation, result).Inc()
	if operation != "read" && result != "not_tried" && result != "overload" {
		r.durations.Observe(took.Seconds())
	}
}

// Unreadable counts an entry in Redis that could not be read.
func (r *Redis) Unreadable(cause string) { r.unreadable.WithLabelValues(cause).Inc() }

// Degraded records whether Redis is out of reach.
func (r *Redis) Degraded(is bool) {
	r.OutOfReach.Store(is)
	r.degraded.Set(map[bool]float64{true: 1}[is])
}
