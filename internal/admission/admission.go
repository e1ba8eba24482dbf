// Package admission limits how much of the broker connections and callers may use.
//
// A connection is unauthenticated ("unproved" in identifiers) until the broker knows to which
// caller the connection belongs. The broker learns the caller from the client certificate, from
// the user at the other end of a Unix socket, or from the first authenticated call. An
// unauthenticated connection may send a limited number of bytes within a limited time. A
// listener keeps few unauthenticated connections open; when there are too many, the listener
// closes the oldest one. An authenticated connection counts for the limits of its caller. Other
// callers cannot use up the limits of this caller. Connections that only call the health service
// have their own limits. A trusted listener gives secrets to every client that can connect.
// Connections to a trusted listener need no authentication.
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
	WatchesPerCaller     Limit = "watches_per_caller"
	CallsPerSecond       Limit = "calls_per_second"

	// The following limits are enforced by other packages.
	MessageBytes     Limit = "message_bytes"
	HeaderBytes      Limit = "header_bytes"
	DenialsPerSecond Limit = "denials_per_second"
)

// AllLimits lists all limits.
var AllLimits = []Limit{
	Connections, Unproved, Health, ConnectionsPerCaller, ConcurrentCalls, CallsPerCaller, BatchesPerCaller,
	WatchesPerCaller, CallsPerSecond, MessageBytes, HeaderBytes, DenialsPerSecond,
}

// Observer is called each time a limit is reached. An empty caller means that
// the caller is unknown. The function must not block.
type Observer func(limit Limit, caller string)

// Admission counts the connections and calls of each caller. Admission is safe for concurrent
// use.
type Admission struct {
	limits      config.Limits
	reached     Observer
	calls       atomic.Int64 // concurrent calls and watches of all callers
	healthCalls atomic.Int64 // concurrent calls of the health service
	perCaller   [uses]useLimit

	mu      sync.Mutex
	callers map[string]*Caller // callers by their names
	sweepAt int                // the number of callers at which the broker forgets idle callers
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
			connection: {int64(limits.ConnectionsPerCaller), ConnectionsPerCaller},
		},
		callers: map[string]*Caller{},
		sweepAt: maxCallers,
	}
}

// Listener returns a listener that limits its connections. Each connection that the listener
// accepts is a *Conn. For each new connection the listener calls the function `trusted`, which
// reports whether the connection may stay unauthenticated.
func (a *Admission) Listener(inner net.Listener, trusted func() bool) net.Listener {
	return newListener(inner, a.limits.Connections, trusted, a.reached)
}

// HTTPListener returns a listener for HTTP that accepts a tenth of the configured connections,
// but at least 16: few clients fetch metrics and health. Connections to the HTTP listener stay
// unauthenticated. The HTTP listener limits only the number of connections, because net/http
// limits the time and the bytes of each connection.
func (a *Admission) HTTPListener(inner net.Listener) net.Listener {
	limit := min(a.limits.Connections, max(16, a.limits.Connections/10))
	l := newListener(inner, limit, func() bool { return false }, a.reached)
	l.onlyNumber = true
	return l
}
