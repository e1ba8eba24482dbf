package server

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/config"
)

var allLimits = []admission.Limit{
	admission.Connections, admission.Unproved, admission.Health, admission.ConnectionsPerCaller, admission.ConcurrentCalls,
	admission.CallsPerCaller, admission.BatchesPerCaller, admission.WatchesPerCaller, admission.CallsPerSecond,
	admission.MessageBytes, admission.HeaderBytes, admission.DenialsPerSecond,
}

// warnInterval is how often the log tells of one limit at most. The metric has it all.
const warnInterval = time.Minute

// limits hold clients to what the configuration allows.
type limits struct {
	config.Limits
	*admission.Admission
	logger  *slog.Logger
	reached *prometheus.CounterVec
	warned  map[admission.Limit]*rate.Sometimes
	denials *audit.Denials
	lines   *callLines
}

func newLimits(from config.Limits, registry *prometheus.Registry, logger *slog.Logger) *limits {
	l := &limits{
		Limits: from,
		logger: logger,
		reached: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authmaterial_limited_total",
			Help: "What was refused or closed because of a limit: connections, calls or watches. Of denials, those without an audit record of their own.",
		}, []string{"limit"}),
		warned: make(map[admission.Limit]*rate.Sometimes),
		lines:  newCallLines(registry, logger),
	}
	l.Admission = admission.New(from, l.record)
	for _, of := range allLimits {
		l.reached.WithLabelValues(string(of))
		l.warned[of] = &rate.Sometimes{First: 1, Interval: warnInterval}
	}
	registry.MustRegister(l.reached)
	return l
}

// close tells of what was left out of the audit and of the log.
func (l *limits) close() {
	l.denials.Close()
	l.lines.tell()
}

// record notes that a limit was reached, by a caller if that is known. It waits for no log.
func (l *limits) record(of admission.Limit, caller string) {
	l.warned[of].Do(func() {
		go l.logger.Warn("a limit was reached; the metric authmaterial_limited_total tells how often", "limit", string(of), "caller", caller)
	})
	l.reached.WithLabelValues(string(of)).Inc()
}

// headerExcess is how many bytes over header_bytes gRPC still reads, so that the call alone is
// refused. gRPC ends the connection of a call whose headers it does not read, and every other call
// with it.
const headerExcess = 64 << 10
