// Package admission limits what connections and callers may use of the broker.
//
// A connection is unproved until it is known to belong to a caller: by its client certificate, by
// the user at the other end of a Unix socket, or by its first authenticated call. An unproved
// connection may send a limited number of bytes within a limited time. A listener has few of them
// at once; when there are more, the oldest is closed. A proved connection counts for the limits of
// its caller, which other callers cannot use up. Connections that only call the health service
// have limits of their own.
//
// A trusted listener gives secrets to every client that can connect. Its connections need no proof.
package admission

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/config"
)

// Limit is the name of a limit, as in the configuration or in the documentation of metrics.
type Limit string

// The limits.
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

	// The following are enforced by other packages.
	MessageBytes     Limit = "message_bytes"
	HeaderBytes      Limit = "header_bytes"
	DenialsPerSecond Limit = "denials_per_second"
)

// AllLimits are the limits above.
var AllLimits = []Limit{
	Connections, Unproved, Health, ConnectionsPerCaller, ConcurrentCalls, CallsPerCaller, BatchesPerCaller,
	WatchesPerCaller, CallsPerSecond, MessageBytes, HeaderBytes, DenialsPerSecond,
}

// Observer is called each time a limit is reached; caller is empty if it is unknown. It must not
// block.
type Observer func(limit Limit, caller string)

// Admission counts connections and calls, and to which caller they belong. It is safe for
// concurrent use.
type Admission struct {
	limits      config.Limits
	reached     Observer
	calls       atomic.Int64 // concurrent calls and watches of all callers
	healthCalls atomic.Int64 // concurrent calls of the health service
	perCaller   [uses]useLimit

	mu      sync.Mutex
	callers map[string]*Caller // by name
	sweepAt int                // the number of callers at which idle ones are forgotten
}

// New returns an Admission with the limits of a configuration, all of which must be positive.
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

// Listener returns a listener whose connections are limited. Each is a *Conn. It calls trusted
// for each new connection, to learn whether connections need a proof at that time.
func (a *Admission) Listener(inner net.Listener, trusted func() bool) net.Listener {
	return newListener(inner, a.limits.Connections, trusted, a.reached)
}

// HTTPListener returns a listener for HTTP, with a tenth of the configured connections, but at least
// 16: few clients fetch metrics and health. Its connections stay unproved; only their number is
// limited, because net/http limits their time and their bytes.
func (a *Admission) HTTPListener(inner net.Listener) net.Listener {
	limit := min(a.limits.Connections, max(16, a.limits.Connections/10))
	l := newListener(inner, limit, func() bool { return false }, a.reached)
	l.onlyNumber = true
	return l
}
