package admission

import (
	"container/list"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// unprovedTime is the time after which the broker closes an unauthenticated connection.
	unprovedTime = 10 * time.Second
	// unprovedBytes is the number of bytes that an unauthenticated connection may send,
	// including the bytes of TLS. When an unauthenticated connection has sent unprovedBytes, the
	// broker stops reading from the connection for the time proofDelay, because a call that the
	// broker has already received may authenticate the connection. If no call authenticates the
	// connection during proofDelay, the broker closes the connection.
	unprovedBytes = 64 << 10
	proofDelay    = time.Second
	// callBytes is added to the bytes that an unauthenticated connection has sent, once for each
	// call. The reason is that a call without a message uses memory too.
	callBytes = 2 << 10

	// healthCalls is the maximum number of concurrent calls of the health service on one
	// connection.
	healthCalls = 8
	// healthBytes is the number of bytes that an unauthenticated connection with health calls
	// may send in each period of the length healthPeriod.
	healthBytes  = 1 << 20
	healthPeriod = time.Hour
)

// errUnproved is the read error of an unauthenticated connection that has sent too many bytes.
var errUnproved = errors.New("the connection has sent too many bytes before a caller authenticated")

// Conn is a connection that a listener with limits has accepted. The connection counts for these
// limits until the connection is closed.
type Conn struct {
	net.Conn
	source      netip.Prefix
	listener    *listener
	settled     chan struct{} // a channel that is closed when the connection is authenticated or closed
	proved      atomic.Bool
	budget      atomic.Int64           // the bytes that an unauthenticated connection may still send
	healthCalls atomic.Int64           // concurrent calls of the health service
	caller      atomic.Pointer[Caller] // the caller of the connection, written only while listener.mu is locked; nil means that the connection has no caller yet
	expiry      *time.Timer            // the timer that closes an unauthenticated connection; nil means that the connection does not expire

	// The following fields are guarded by listener.mu.
	class    *class        // the class of the connection; nil means that the connection belongs to a caller, or is closed
	place    *list.Element // the connection's element in the list of its class
	refilled time.Time     // the time when the field `budget` was last set to healthBytes
	closed   bool
}

func newConn(inner net.Conn, l *listener) *Conn {
	c := &Conn{Conn: inner, source: SourceOf(inner.RemoteAddr()), listener: l, settled: make(chan struct{})}
	c.budget.Store(unprovedBytes)
	c.proved.Store(l.onlyNumber)
	return c
}

// move moves the connection from its class to the end of the class `to`. If `to` is
// nil, the connection leaves its class and then belongs to no class. The mutex listener.mu must
// be locked.
func (c *Conn) move(to *class) {
	if c.class != nil {
		c.class.Remove(c.place)
	}
	if c.class = to; to != nil {
		c.place = to.PushBack(c)
	}
}

// setProved marks a connection as authenticated, which removes the limits on the connection's
// bytes and time. The mutex listener.mu must be locked.
func (c *Conn) setProved(class *class) {
	c.move(class)
	if c.expiry != nil {
		c.expiry.Stop()
	}
	if !c.proved.Swap(true) {
		close(c.settled)
	}
}

// Prove assigns the connection to a caller, unless the connection already belongs to a caller.
// Prove returns false if the caller has reached its limit of connections.
func (c *Conn) Prove(caller *Caller) bool {
	if c.caller.Load() != nil || caller.rate == nil && c.proved.Load() {
		return true
	}
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.closed || c.caller.Load() != nil {
		return true
	}
	if !caller.take(connection) {
		return false
	}
	c.caller.Store(caller)
	c.setProved(nil)
	return true
}

// BeginHealth reports whether the connection may make one more call of the health service. If
// BeginHealth returns true, EndHealth must be called when the call ends. An unauthenticated
// connection that makes a health call no longer expires, but belongs to a class that may have
// few connections.
func (a *Admission) BeginHealth(c *Conn) bool {
	own, all := c.healthCalls.Add(1), a.healthCalls.Add(1)
	if own > healthCalls || all > int64(a.limits.Connections) {
		a.EndHealth(c)
		a.reached(Health, "")
		return false
	}
	if !c.proved.Load() {
		c.joinHealth()
	}
	return true
}

// EndHealth records that a call of the health service has ended.
func (a *Admission) EndHealth(c *Conn) {
	c.healthCalls.Add(-1)
	a.healthCalls.Add(-1)
}

// joinHealth moves an unauthenticated connection to the class for health calls. Once in each
// healthPeriod, joinHealth also lets the connection send healthBytes again.
func (c *Conn) joinHealth() {
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.closed || c.proved.Load() {
		return
	}
	now := time.Now()
	if c.class == l.health && now.Sub(c.refilled) < healthPeriod {
		c.budget.Add(callBytes) // gives back the bytes that the method Called subtracted, because health calls have a limit of their own
		return
	}
	if c.class == l.unproved {
		l.enter(c, l.health)
	}
	c.budget.Store(healthBytes)
	c.refilled = now
}

// Called counts one call on the connection.
func (c *Conn) Called() {
	if !c.proved.Load() {
		c.budget.Add(-callBytes)
	}
}

// Read implements net.Conn. On an unauthenticated connection, Read reads at most as many bytes
// as the client may still send.
func (c *Conn) Read(data []byte) (int, error) {
	if c.proved.Load() {
		return c.Conn.Read(data)
	}
	left := c.budget.Load()
	if left <= 0 {
		if !c.awaitProof() {
			return 0, errUnproved
		}
		return c.Conn.Read(data)
	}
	n, err := c.Conn.Read(data[:min(int64(len(data)), left)])
	c.budget.Add(int64(-n))
	return n, err
}

// awaitProof waits until a call that was already received authenticates the connection, and
// reports whether the connection is authenticated.
func (c *Conn) awaitProof() bool {
	select {
	case <-c.settled:
		return c.proved.Load()
	case <-time.After(proofDelay):
		c.listener.reached(Unproved, "")
		return false
	}
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.listener.remove(c)
	return c.Conn.Close()
}
