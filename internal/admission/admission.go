// Package admission limits how much of the broker connections and callers may use.
//
// A connection is unauthenticated ("unproved" in identifiers) until the broker knows its caller:
// from the client certificate, from the user at the other end of a Unix socket, or from the first
// authenticated call. An unauthenticated connection may send a limited number of bytes within a
// limited time. A listener keeps few unauthenticated connections open: when there are too many, the
// listener closes the oldest one. An authenticated connection counts for the limits of its caller,
// which other callers cannot use up. Connections that only call the health service have their own
// limits. A trusted listener gives secrets to every client that can connect, so connections to a
// trusted listener need no authentication.
package admission

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/config"
)

// Limit is the name of a limit, as in the configuration or in the documentation of the metrics.
type Limit string

// These constants are the names of the limits.
const (
	Connections          Limit = "connections"
	Unproved             Limit = "unproved_connections"
	Health               Limit = "health"
	ConnectionsPerCaller Limit = "connections_per_caller"
	ConcurrentCalls      Limit = "concurrent_calls"
	CallsPerCaller       Limit = "concurrent_calls_per_caller"
	BatchesPerCaller     Limit = "batches_per_caller"
	LargePerCaller       Limit = "large_requests_per_caller"
	WatchesPerCaller     Limit = "watches_per_caller"
	CallsPerSecond       Limit = "calls_per_second"

	// The following limits are enforced by other packages.
	MessageBytes     Limit = "message_bytes"
	HeaderBytes      Limit = "header_bytes"
	DenialsPerSecond Limit = "denials_per_second"
)

// AllLimits lists all limits.
var AllLimits = []Limit{
	Connections, Unproved, Health, ConnectionsPerCaller, ConcurrentCalls, CallsPerCaller, BatchesPerCaller, LargePerCaller,
	WatchesPerCaller, CallsPerSecond, MessageBytes, HeaderBytes, DenialsPerSecond,
}

// Observer is called each time a limit is reached. An empty caller means that the caller is
// unknown. An Observer must not block.
type Observer func(limit Limit, caller string)

// Admission counts the connections and calls of each caller. Admission is safe for concurrent use.
type Admission struct {
	limits      config.Limits
	reached     Observer
	calls       atomic.Int64 // concurrent calls and watches of all callers
	healthCalls atomic.Int64 // concurrent calls of the health service
	perCaller   [uses]useLimit

	mu      sync.Mutex
	callers map[string]*Caller // by name
	sweepAt int                // number of callers at which the Admission forgets idle callers
}

// New returns an Admission with the configured limits. Every limit must be positive.
func New(limits config.Limits, reached Observer) *Admission {
	calls := max(1, limits.ConcurrentCalls/callerPart)
	return &Admission{
		limits:  limits,
		reached: reached,
		perCaller: [...]useLimit{
			Call:       {int64(calls), CallsPerCaller},
			Watch:      {int64(min(limits.WatchesPerCaller, calls)), WatchesPerCaller},
			batch:      {batchesPerCaller, BatchesPerCaller},
			large:      {largePerCaller, LargePerCaller},
			connection: {int64(limits.ConnectionsPerCaller), ConnectionsPerCaller},
		},
		callers: map[string]*Caller{},
		sweepAt: maxCallers,
	}
}

// Listener returns a listener that limits its connections, which are of type *Conn. The listener
// calls the function `trusted` for each new connection. If `trusted` returns true, the connection
// may stay unauthenticated.
func (a *Admission) Listener(inner net.Listener, trusted func() bool) net.Listener {
	return newListener(inner, a.limits.Connections, trusted, a.reached)
}

// HTTPListener returns a listener for HTTP that accepts a tenth of the configured connections, but
// at least 16: few clients fetch metrics and health. HTTP connections stay unauthenticated, and
// only their number is limited, because net/http limits the time and the bytes of each connection.
func (a *Admission) HTTPListener(inner net.Listener) net.Listener {
	limit := min(a.limits.Connections, max(16, a.limits.Connections/10))
	l := newListener(inner, limit, func() bool { return false }, a.reached)
	l.onlyNumber = true
	return l
}
