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

// The lines about failed calls that the log may have at each level: per second in the long run,
// and at once; from one source, and from all together.
const (
	sourceLines, sourceBurst = 1, 100
	allLines, allBurst       = 10, 1000
)

const (
	// levels is the number of levels that are limited, and maxSources how many sources are
	// remembered.
	levels     = 3
	maxSources = 1000
	// suppressedInterval is how soon after a suppressed line the log has their number.
	suppressedInterval = time.Minute
)

// lineLimiter limits how many lines clients can cause by calls that fail. It logs the number of
// suppressed lines.
type lineLimiter struct {
	logger  *slog.Logger
	counter prometheus.Counter

	mu         sync.Mutex
	all        *ratelimit.Limiter[slog.Level]
	sources    *ratelimit.Limiter[lineSource]
	suppressed int         // since the last report
	last       string      // the address of the client of the last suppressed line
	timer      *time.Timer // of the next report; nil: no line was suppressed
}

// lineSource is what one client's lines of a level count for.
type lineSource struct {
	level  slog.Level
	source netip.Prefix
}

func newLineLimiter(m metrics, logger *slog.Logger) *lineLimiter {
	return &lineLimiter{
		logger: logger,
		counter: m.counters("authmaterial_call_log_left_out_total",
			"Lines about failed calls and handshakes that the log suppressed.").WithLabelValues(),
		all:     ratelimit.New[slog.Level](allLines, allBurst, levels),
		sources: ratelimit.New[lineSource](sourceLines, sourceBurst, maxSources),
	}
}

// allow counts a line about a client, whose address may be nil, and reports whether to log it.
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
