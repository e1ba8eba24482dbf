package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/tap"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fault"
)

// The limits that this package enforces, or has gRPC enforce.
const (
	limitMessage admission.Limit = "message_bytes"
	limitHeader  admission.Limit = "header_bytes"
	limitDenials admission.Limit = "denials_per_second"
)

var allLimits = []admission.Limit{
	admission.Connections, admission.Unproved, admission.Health, admission.ConnectionsPerCaller, admission.ConcurrentCalls,
	admission.CallsPerCaller, admission.BatchesPerCaller, admission.WatchesPerCaller, admission.CallsPerSecond,
	limitMessage, limitHeader, limitDenials,
}

// warnInterval is how often the log tells of one limit at most. The metric has it all.
const warnInterval = time.Minute

// limits hold clients to what the configuration allows.
type limits struct {
	config.Limits
	*admission.Admission
	clock   clockwork.Clock
	logger  *slog.Logger
	reached *prometheus.CounterVec
	warned  map[admission.Limit]*rate.Sometimes
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
			Help: "What was refused or closed because of a limit: connections, calls or watches. Of denials, those without an audit record of their own.",
		}, []string{"limit"}),
		warned: make(map[admission.Limit]*rate.Sometimes),
		lines:  newCallLines(registry, logger),
	}
	l.Admission = admission.New(admission.Limits{
		Connections:          from.Connections,
		ConnectionsPerCaller: from.ConnectionsPerCaller,
		ConcurrentCalls:      from.ConcurrentCalls,
		WatchesPerCaller:     from.WatchesPerCaller,
		CallsPerSecond:       from.CallsPerSecond,
		CallBurst:            from.CallBurst,
	}, l.record)
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

// maxHeaders is how many headers a call may have. Each takes up more than its bytes.
const maxHeaders = 64

// headerExcess is how many bytes over header_bytes gRPC still reads, so that the call alone is
// refused. gRPC ends the connection of a call whose headers it
// does not read, and every other call with it.
const headerExcess = 64 << 10

// headersKey is the key of the *fault.Error of a call whose headers are too many or too large.
type headersKey struct{}

var errManyHeaders = &fault.Error{
	Reason:     fault.InvalidRequest,
	Message:    "the call has too many headers",
	Violations: []fault.Violation{{Field: "headers", Description: fmt.Sprintf("%d is the most", maxHeaders)}},
}

// checkHeaders is a tap.ServerInHandle: the one place where headers are not a copy. It refuses
// nothing: gRPC would not end the context, whose timer stays for as long as the client likes.
func (l *limits) checkHeaders(ctx context.Context, call *tap.Info) (context.Context, error) {
	headers, size := 0, 0
	for name, values := range call.Header {
		headers += len(values)
		for _, value := range values {
			field := hpack.HeaderField{Name: name, Value: value}
			size += int(field.Size())
		}
	}
	switch {
	case headers > maxHeaders:
		return context.WithValue(ctx, headersKey{}, errManyHeaders), nil
	case size > l.HeaderBytes:
		return context.WithValue(ctx, headersKey{}, &fault.Error{
			Reason:     fault.InvalidRequest,
			Message:    "the headers of the call are too large",
			Violations: []fault.Violation{{Field: "headers", Description: fmt.Sprintf("%d bytes in all are the most, 32 counted for each header beside its name and value", l.HeaderBytes)}},
		}), nil
	}
	return ctx, nil
}

// excessiveHeaders returns the error of a call whose headers are too many or too large.
func (l *limits) excessiveHeaders(ctx context.Context) error {
	if why, ok := ctx.Value(headersKey{}).(*fault.Error); ok {
		l.record(limitHeader, "")
		return why
	}
	return nil
}
