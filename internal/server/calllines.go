package server

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/ratelimit"
)

// What the log has of calls that failed, at each level: so many lines a second in the long
// run, and at once, from one origin and from all together.
const (
	originLines, originLineBurst = 1, 100
	allLines, allLineBurst       = 10, 1000
)

const (
	// maxLineOrigins is how many origins are remembered with their lines.
	maxLineOrigins = 1000
	// leftOutInterval is how long lines that were left out wait to be told of at most.
	leftOutInterval = time.Minute
)

// callLines bound what clients can have the log say of calls that failed. Once a minute it
// says how many lines were left out.
type callLines struct {
	logger  *slog.Logger
	missing prometheus.Counter

	mu      sync.Mutex
	all     map[slog.Level]*rate.Limiter
	origins *ratelimit.Limiter[lineOrigin]
	leftOut int
	last    string      // the address that the last of these was about
	telling *time.Timer // nil: there is nothing to tell
}

// lineOrigin is whose lines have a bound of their own.
type lineOrigin struct {
	level  slog.Level
	source netip.Prefix
}

func newCallLines(registry prometheus.Registerer, logger *slog.Logger) *callLines {
	c := &callLines{
		logger: logger, all: map[slog.Level]*rate.Limiter{},
		origins: ratelimit.New[lineOrigin](originLines, originLineBurst, maxLineOrigins),
	}
	c.missing = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "authmaterial_call_log_left_out_total",
		Help: "Lines about calls and handshakes that failed which the log does not have, because there were too many.",
	})
	registry.MustRegister(c.missing)
	return c
}

// allow counts a line about a client, and reports whether the log is to have it.
func (c *callLines) allow(level slog.Level, client net.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.all[level] == nil {
		c.all[level] = rate.NewLimiter(allLines, allLineBurst)
	}
	if c.origins.Take(lineOrigin{level, admission.SourceOf(client)}, 1, now) == 0 && c.all[level].AllowN(now, 1) {
		return true
	}
	c.missing.Inc()
	c.leftOut++
	if client != nil {
		c.last = client.String()
	}
	if c.telling == nil {
		c.telling = time.AfterFunc(leftOutInterval, c.tell)
	}
	return false
}

// tell says how many lines were left out, if any. The server does so when it stops, too.
func (c *callLines) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.telling == nil {
		return
	}
	c.telling.Stop()
	c.logger.Warn("more calls fail than the log tells of", "left_out", c.leftOut, "last_address", c.last)
	c.telling, c.leftOut = nil, 0
}
