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
	// unprovedTime is the time after which an unauthenticated connection is closed.
	unprovedTime = 10 * time.Second
	// unprovedBytes is the number of bytes, including those of TLS, that an unauthenticated
	// connection may send. When a connection has sent unprovedBytes, the broker reads no more from
	// it for proofDelay, because a call that was already received may authenticate the connection.
	// If no call authenticates the connection in time, the broker closes it.
	unprovedBytes = 64 << 10
	proofDelay    = time.Second
	// callBytes is added to the sent bytes of an unauthenticated connection for each call, because
	// a call without a message uses memory too.
	callBytes = 2 << 10

	// healthCalls is the maximum number of concurrent health calls on one connection.
	healthCalls = 8
	// healthBytes is the number of bytes that an unauthenticated connection with health calls may
	// send in each healthPeriod.
	healthBytes  = 1 << 20
	healthPeriod = time.Hour
)

var errUnproved = errors.New("the connection has sent too many bytes before a caller authenticated")

// Conn is a connection that a listener with limits has accepted. A Conn counts for the limits of
// its listener until the Conn is closed.
type Conn struct {
	net.Conn
	source      netip.Prefix
	listener    *listener
	settled     chan struct{} // channel that is closed when the connection is authenticated or closed
	proved      atomic.Bool
	budget      atomic.Int64           // bytes that an unauthenticated connection may still send
	healthCalls atomic.Int64           // concurrent health calls
	caller      atomic.Pointer[Caller] // the caller of the connection, or nil while unknown; changed only while listener.mu is locked
	expiry      *time.Timer            // closes an unauthenticated connection; nil if the connection does not expire

	// The following fields are guarded by listener.mu.
	class    *class        // list that contains the connection; nil if the connection belongs to a caller, or is closed
	place    *list.Element // element of `class` for this connection
	refilled time.Time     // when the number of bytes in `budget` was last set to healthBytes
	closed   bool
}

func newConn(inner net.Conn, l *listener) *Conn {
	c := &Conn{Conn: inner, source: SourceOf(inner.RemoteAddr()), listener: l, settled: make(chan struct{})}
	c.budget.Store(unprovedBytes)
	c.proved.Store(l.onlyNumber)
	return c
}

// move moves the connection to the end of another class, or to no class if the argument is nil. The
// lock listener.mu must be held.
func (c *Conn) move(to *class) {
	if c.class != nil {
		c.class.Remove(c.place)
	}
	if c.class = to; to != nil {
		c.place = to.PushBack(c)
	}
}

// setProved marks a connection as authenticated, which ends the limits on its bytes and time. The
// lock listener.mu must be held.
func (c *Conn) setProved(class *class) {
	c.move(class)
	if c.expiry != nil {
		c.expiry.Stop()
	}
	if !c.proved.Swap(true) {
		close(c.settled)
	}
}

// Prove assigns the connection to a caller, unless the connection already belongs to one. Prove
// returns false if the caller has reached its limit of connections.
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

// BeginHealth reports whether the connection may make one more health call. If BeginHealth returns
// true, EndHealth must be called when the call ends. After its first health call, an
// unauthenticated connection is not closed because of its age any more, but counts for the small
// limit of connections with health calls.
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

// EndHealth records that a health call has ended.
func (a *Admission) EndHealth(c *Conn) {
	c.healthCalls.Add(-1)
	a.healthCalls.Add(-1)
}

// joinHealth moves an unauthenticated connection to the list of connections with health calls. In
// each healthPeriod, the connection may send healthBytes bytes.
func (c *Conn) joinHealth() {
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.closed || c.proved.Load() {
		return
	}
	now := time.Now()
	if c.class == l.health && now.Sub(c.refilled) < healthPeriod {
		c.budget.Add(callBytes) // add the bytes that Called has subtracted, because health calls have a limit of their own
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

// Read implements net.Conn. On an unauthenticated connection, Read returns at most as many bytes as
// the client may still send.
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

// awaitProof waits until a call that was already received authenticates the connection, and reports
// whether the connection is authenticated.
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
