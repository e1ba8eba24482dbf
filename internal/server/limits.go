package server

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/config"
)

// limit is the name of a bound on what clients take up, as in the configuration.
type limit string

const (
	limitConnections limit = "connections"
	limitStreams     limit = "streams_per_connection"
	limitConcurrent  limit = "concurrent_calls"
	limitMessage     limit = "message_bytes"
	limitHeader      limit = "header_bytes"
	limitWatches     limit = "watches_per_caller"
	limitCalls       limit = "calls_per_second"
	limitDenials     limit = "denials_per_second"
	limitPings       limit = "pings"  // not configured: pingInterval
	limitHealth      limit = "health" // not configured: one for each connection that there may be
	limitMemory      limit = "memory" // callBytes for each of concurrent_calls
)

var allLimits = []limit{limitConnections, limitStreams, limitConcurrent, limitMessage, limitHeader, limitWatches, limitCalls, limitDenials, limitPings, limitHealth, limitMemory}

// callBytes is what a call may have the broker keep on average, while there are as many as
// there may be; together it is leastMemory at least.
const (
	callBytes   = 8 << 10
	leastMemory = 1 << 20
)

// warnInterval is how often the log tells of one limit at most. The metric has it all.
const warnInterval = time.Minute

// limits hold clients to what the configuration allows.
type limits struct {
	config.Limits
	clock   clockwork.Clock
	logger  *slog.Logger
	reached *prometheus.CounterVec
	warned  map[limit]*rate.Sometimes
	calls   *shares[origins]
	health  *shares[origins] // calls of the health service, which need no proof
	memory  *shares[origins] // in bytes
	callers *callerLimits
	denials *audit.Denials
	lines   *callLines
}

func newLimits(from config.Limits, clock clockwork.Clock, registry *prometheus.Registry, logger *slog.Logger) *limits {
	l := &limits{
		Limits: from,
		clock:  clock,
		logger: logger,
		reached: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authmaterial_limited_total",
			Help: "What was refused because of a limit: connections, calls, watches or, for pings and memory, clients that sent too much. Of denials, those without an audit record of their own.",
		}, []string{"limit"}),
		warned:  make(map[limit]*rate.Sometimes),
		calls:   newShares[origins](from.ConcurrentCalls),
		health:  newShares[origins](from.Connections),
		memory:  newShares[origins](max(leastMemory, from.ConcurrentCalls*callBytes)),
		callers: newCallerLimits(from),
		lines:   newCallLines(registry, logger),
	}
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

// bite notes that a limit was reached, by a caller if that is known.
func (l *limits) bite(of limit, caller string) {
	l.warned[of].Do(func() {
		l.logger.Warn("a limit was reached; the metric authmaterial_limited_total tells how often", "limit", string(of), "caller", caller)
	})
	l.reached.WithLabelValues(string(of)).Inc()
}

// httpPart is the part of the connections that the HTTP listener may have, and httpLeast what
// it has unless that is more than the limit. Few ask for metrics and health.
const (
	httpPart  = 10
	httpLeast = 16
)

// forHTTP is how many connections the HTTP listener may have.
func (l *limits) forHTTP() int { return min(l.Connections, max(httpLeast, l.Connections/httpPart)) }

// listener holds the connections of a listener to a limit.
func (l *limits) listener(inner net.Listener, connections int) net.Listener {
	return &limitListener{
		Listener: inner,
		shares:   newShares[source](connections),
		memory:   l.memory,
		refused:  func() { l.bite(limitConnections, "") },
	}
}

// maxHeaders is how many headers a call may have. Each takes up more than its bytes.
const maxHeaders = 64

// countHeaders refuses a call with too many headers. It is a tap.ServerInHandle.
func (l *limits) countHeaders(ctx context.Context, call *tap.Info) (context.Context, error) {
	headers := 0
	for _, values := range call.Header {
		headers += len(values)
	}
	if headers <= maxHeaders {
		return ctx, nil
	}
	l.bite(limitHeader, "")
	return ctx, status.Errorf(codes.ResourceExhausted, "the call has %d headers: the most is %d", headers, maxHeaders)
}

// ended notes what gRPC's own limits did to a stream or a connection.
func (l *limits) ended(what http2.FrameType, why http2.ErrCode) {
	switch {
	case what == http2.FrameRSTStream && why == http2.ErrCodeRefusedStream:
		l.bite(limitStreams, "")
	case what == http2.FrameRSTStream && why == http2.ErrCodeFrameSize:
		l.bite(limitHeader, "")
	case what == http2.FrameGoAway && why == http2.ErrCodeEnhanceYourCalm:
		l.bite(limitPings, "")
	}
}
