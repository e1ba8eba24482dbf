// Package admission bounds what connections and callers use of the broker.
//
// A connection has to prove whose it is: by its client certificate, by the user at the other end
// of a Unix socket, or by its first authenticated call. Until then it may receive a bounded number
// of bytes within a bounded time, and unproved connections share a small number of places: beyond
// it the oldest is closed. From then on the limits of its caller apply, which no other caller can
// use up. Connections that only ask for the broker's health are a small class of their own.
//
// A listener whose every client gets the secrets anyway is trusted: its connections need no proof.
package admission

import (
	"net"
	"sync/atomic"
	"time"
)

// Bounds on connections that have not proved whose they are.
const (
	// unprovedConnections is how many there are at once at a listener, and unprovedPerSource how
	// many of one source.
	unprovedConnections = 200
	unprovedPerSource   = 64
	// unprovedBytes is how many bytes such a connection can have sent, TLS included. Beyond that
	// it waits proofDelay for the proof, which a call among the first of a burst may be about to
	// bring, and is closed then.
	unprovedBytes = 64 << 10
	proofDelay    = time.Second
	// callBytes is what each of its calls counts for in addition: a call takes up memory without a
	// message, too.
	callBytes = 2 << 10
	// unprovedTime is how long it stays open.
	unprovedTime = 10 * time.Second

	// healthConnections is how many connections there are that only ask for the broker's health,
	// and healthPerSource how many of one source. Each can send healthBytes an hour.
	healthConnections = 64
	healthPerSource   = 16
	healthBytes       = 1 << 20
	healthPeriod      = time.Hour

	// healthCalls is how many calls for the broker's health a connection has at once.
	healthCalls = 8
)

// Limits are what the configuration allows. All are positive.
type Limits struct {
	// Connections is how many connections a listener has at once.
	Connections int
	// ConnectionsPerCaller is how many of them are one caller's.
	ConnectionsPerCaller int
	// ConcurrentCalls is how many calls there are at once, watches included.
	ConcurrentCalls int
	// WatchesPerCaller is how many watches a caller has at once, a quarter of ConcurrentCalls at most.
	WatchesPerCaller int
	// CallsPerSecond is how many calls a caller makes in the long run, and CallBurst after a rest.
	CallsPerSecond, CallBurst int
}

// Limit is the name of a limit, as in the configuration or in its documentation.
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

	MessageBytes Limit = "message_bytes" // those of gRPC
	HeaderBytes  Limit = "header_bytes"
)

// Observer is told that a limit was reached; caller is empty where it is not known. It must not
// block.
type Observer func(limit Limit, caller string)

// Admission holds the connections of listeners, and the callers that they belong to. It is safe
// for concurrent use.
type Admission struct {
	limits  Limits
	reached Observer
	callers callers
	health  atomic.Int64 // calls for the broker's health, at once

	perCaller [Watch + 1]callerLimit
}

// New returns an Admission.
func New(limits Limits, reached Observer) *Admission {
	a := &Admission{limits: limits, reached: reached}
	a.callers = newCallers(a)
	a.perCaller = [...]callerLimit{
		Call:  {max(1, limits.ConcurrentCalls/callerPart), CallsPerCaller},
		Watch: {min(limits.WatchesPerCaller, max(1, limits.ConcurrentCalls/callerPart)), WatchesPerCaller},
	}
	return a
}

// Listener returns a listener whose connections are bounded. Each is a *Conn. At the time when a
// connection is accepted, trusted reports whether it needs no proof.
func (a *Admission) Listener(inner net.Listener, trusted func() bool) net.Listener {
	return newListener(inner, a.limits.Connections, trusted, a.reached)
}

// httpPart is the part of the connections that an HTTP listener may have, and httpLeast the least
// of them: few clients fetch metrics and health.
const (
	httpPart  = 10
	httpLeast = 16
)

// HTTPListener returns a listener for HTTP, whose connections prove nothing. Beyond their number
// the oldest is closed; net/http bounds their time and their bytes.
func (a *Admission) HTTPListener(inner net.Listener) net.Listener {
	l := newListener(inner, min(a.limits.Connections, max(httpLeast, a.limits.Connections/httpPart)), func() bool { return false }, a.reached)
	l.bounded = false
	return l
}

// BeginHealth begins a call for the broker's health. After true, EndHealth has to follow. The
// connection stays open from now on if it is unproved, as one of few.
func (a *Admission) BeginHealth(c *Conn) bool {
	ofConn, all := c.health.Add(1), a.health.Add(1)
	if ofConn <= healthCalls && all <= int64(a.limits.Connections) {
		c.asksForHealth()
		return true
	}
	a.EndHealth(c)
	a.reached(Health, "")
	return false
}

// EndHealth ends such a call.
func (a *Admission) EndHealth(c *Conn) {
	c.health.Add(-1)
	a.health.Add(-1)
}
