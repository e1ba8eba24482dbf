package observe

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/ratelimit"
)

// These constants limit the log lines about failed calls, separately for each log level. Each limit
// is a number of lines per second in the long run, and a number of lines at once. There is one
// limit for each source of calls, and one for all sources together.
const (
	sourceLines, sourceBurst = 1, 100
	allLines, allBurst       = 10, 1000
)

const (
	// The constant `levels` is the number of log levels whose lines are limited, and maxSources is
	// the maximum number of sources that are remembered.
	levels     = 3
	maxSources = 1000
	// suppressedInterval is the time between a suppressed line and the line that reports how many
	// were suppressed.
	suppressedInterval = time.Minute
)

// lineLimiter limits the log lines that clients can cause with failed calls, and logs how many
// lines it suppressed.
type lineLimiter struct {
	logger  *slog.Logger
	counter prometheus.Counter

	mu         sync.Mutex
	all        *ratelimit.Limiter[slog.Level]
	sources    *ratelimit.Limiter[lineSource]
	suppressed int         // the number of lines suppressed since the last report
	last       string      // the client's address in the last suppressed line
	timer      *time.Timer // the timer that logs the next report; nil if no line was suppressed since the last report
}

type lineSource struct {
	level  slog.Level
	source netip.Prefix
}

func newLineLimiter(m metrics, logger *slog.Logger) *lineLimiter {
	return &lineLimiter{
		logger: logger,
		counter: m.counters("authmaterial_call_log_left_out_total",
			"Log lines about failed calls and handshakes that were suppressed.").WithLabelValues(),
		all:     ratelimit.New[slog.Level](allLines, allBurst, levels),
		sources: ratelimit.New[lineSource](sourceLines, sourceBurst, maxSources),
	}
}

// allow counts a log line about a client, and reports whether to log it. The client's address may
// be nil.
func (l *lineLimiter) allow(level slog.Level, client net.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.sources.Take(lineSource{level, admission.SourceOf(client)}, 1, now) == 0 && l.all.Take(level, 1, now) == 0 {
		return true
	}
	l.counter.Inc()
	l.suppressed++
	if client != nil {
		l.last = client.String()
	}
	if l.timer == nil {
		l.timer = time.AfterFunc(suppressedInterval, l.report)
	}
	return false
}

// report logs how many lines were suppressed since the last report, if any.
func (l *lineLimiter) report() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		return
	}
	l.timer.Stop()
	l.logger.Warn("failed-call log lines suppressed", "left_out", l.suppressed, "last_address", l.last)
	l.timer, l.suppressed = nil, 0
}
