package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/tap"

	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fault"
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

// What one gets in any case, also where there are so many others that an equal part is less.
const (
	littleConnections = 4
	littleCalls       = 8
	littleMemory      = 64 << 10
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
	open    *openConns
	calls   *shares[origins]
	health  *shares[origins] // calls of the health service, which need no proof
	memory  *shares[origins] // in bytes
	callers *callerLimits
	denials *audit.Denials
	lines   *callLines
	// largeHeaders is the answer to a call with more than HeaderBytes of them.
	largeHeaders *fault.Error
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
		open:    newOpenConns(),
		callers: newCallerLimits(from),
		lines:   newCallLines(registry, logger),

		largeHeaders: newLargeHeaders(from.HeaderBytes),
	}
	l.calls = newShares(from.ConcurrentCalls, littleCalls, l.cutOffBy(limitConcurrent, callsOf))
	l.health = newShares(from.Connections, littleCalls, l.cutOffBy(limitHealth, callsOf))
	l.memory = newShares(max(leastMemory, from.ConcurrentCalls*callBytes), littleMemory, l.cutOffBy(limitMemory, bytesOf))
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

// bite notes that a limit was reached, by a caller if that is known. It waits for no log.
func (l *limits) bite(of limit, caller string) {
	l.warned[of].Do(func() {
		go l.logger.Warn("a limit was reached; the metric authmaterial_limited_total tells how often", "limit", string(of), "caller", caller)
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
	own := &limitListener{Listener: inner, memory: l.memory, open: l.open, refused: func() { l.bite(limitConnections, "") }}
	own.shares = newShares(connections, littleConnections, func(from source) int {
		l.bite(limitConnections, "")
		return l.open.cutOff(func(c *limitedConn) int {
			if c.listener != own || c.held.from.source != from {
				return 0
			}
			return 1
		}, func(*limitedConn) {})
	})
	return own
}

// cutOffBy has the connection that uses most of an origin's part give way to others.
func (l *limits) cutOffBy(of limit, uses func(*held) int) func(origins) int {
	return func(from origins) int {
		l.bite(of, "")
		return l.open.cutOff(func(c *limitedConn) int {
			if c.held.from != from {
				return 0
			}
			return uses(c.held)
		}, func(c *limitedConn) { c.held.goes.Store(of == limitMemory) })
	}
}

func callsOf(h *held) int { return int(h.calls.Load()) }
func bytesOf(h *held) int { return int(h.bytes.Load()) }

// maxHeaders is how many headers a call may have. Each takes up more than its bytes.
const maxHeaders = 64

// headerExcess is how many bytes over header_bytes gRPC still reads, so that the call alone is
// refused. gRPC ends the connection of a call whose headers it
// does not read, and every other call with it.
const headerExcess = 64 << 10

// refusedHeaders is what the context of a call has whose headers are too many or too large.
type refusedHeaders struct {
	bytes int // what they count for
	why   *fault.Error
}

// refusedHeadersKey is the key of refusedHeaders.
type refusedHeadersKey struct{}

// headerBytes is what each header takes up beside its name and value.
const headerBytes = 96

// countHeaders is a tap.ServerInHandle: the one place where headers are not a copy. It refuses
// nothing: gRPC would not end the context, whose timer stays for as long as the client likes.
func (l *limits) countHeaders(ctx context.Context, call *tap.Info) (context.Context, error) {
	headers, size := 0, 0
	for name, values := range call.Header {
		headers += len(values)
		for _, value := range values {
			field := hpack.HeaderField{Name: name, Value: value}
			size += int(field.Size())
		}
	}
	refused := refusedHeaders{bytes: headers * headerBytes}
	switch {
	case headers > maxHeaders:
		refused.why = errManyHeaders
	case size > l.HeaderBytes:
		refused.why = l.largeHeaders
	default:
		return ctx, nil
	}
	by := holderOf(ctx)
	if !by.take(refused.bytes) {
		l.bite(limitMemory, "")
		by.cutOff()
	}
	return context.WithValue(ctx, refusedHeadersKey{}, refused), nil
}

// newLargeHeaders returns the error of a call whose headers have more bytes than that.
func newLargeHeaders(most int) *fault.Error {
	return &fault.Error{
		Reason:     fault.InvalidRequest,
		Message:    "the headers of the call are too large",
		Violations: []fault.Violation{{Field: "headers", Description: fmt.Sprintf("%d bytes in all are the most, 32 counted for each header beside its name and value", most)}},
	}
}

// ended notes what gRPC's own limits did to a stream or a connection.
func (l *limits) ended(what http2.FrameType, why http2.ErrCode) {
	switch {
	case what == http2.FrameRSTStream && why == http2.ErrCodeRefusedStream:
		l.bite(limitStreams, "")
	case what == http2.FrameRSTStream && why == http2.ErrCodeFrameSize:
		l.bite(limitHeader, "") // their size is known only when they are unpacked
	case what == http2.FrameGoAway && why == http2.ErrCodeEnhanceYourCalm:
		l.bite(limitPings, "")
	}
}
