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
	// unprovedTime is how long an unproved connection stays open.
	unprovedTime = 10 * time.Second
	// unprovedBytes is how many bytes it may send, those of TLS included. When it has sent them,
	// the broker reads no more for proofDelay: one of the calls received so far may prove the
	// connection. Otherwise it is closed.
	unprovedBytes = 64 << 10
	proofDelay    = time.Second
	// callBytes is what each call counts for in addition: a call without a message uses memory too.
	callBytes = 2 << 10

	// healthCalls is how many calls of the health service a connection may have at once.
	healthCalls = 8
	// healthBytes is how many bytes it may send in each healthPeriod while it is unproved.
	healthBytes  = 1 << 20
	healthPeriod = time.Hour
)

// errUnproved ends a connection that has sent too much.
var errUnproved = errors.New("the connection has sent too many bytes before a caller authenticated")

// Conn is a connection of a limited listener. It counts until it is closed.
type Conn struct {
	net.Conn
	source      netip.Prefix
	listener    *listener
	settled     chan struct{} // closed when an unproved connection is proved, or is closed
	proved      atomic.Bool
	budget      atomic.Int64           // the bytes that it may still send while it is unproved
	healthCalls atomic.Int64           // concurrent calls of the health service
	caller      atomic.Pointer[Caller] // written under listener.mu; nil: no caller's yet
	expiry      *time.Timer            // nil: the connection does not expire

	// The following is guarded by listener.mu.
	class    *class        // nil: the connection is a caller's, or closed
	place    *list.Element // in class
	refilled time.Time     // when the budget was last set to healthBytes
	closed   bool
}

func newConn(inner net.Conn, l *listener) *Conn {
	c := &Conn{Conn: inner, source: SourceOf(inner.RemoteAddr()), listener: l, settled: make(chan struct{})}
	c.budget.Store(unprovedBytes)
	c.proved.Store(l.onlyNumber)
	return c
}

// move moves the connection from its class to the end of another; nil: to none. The caller holds
// listener.mu.
func (c *Conn) move(to *class) {
	if c.class != nil {
		c.class.Remove(c.place)
	}
	if c.class = to; to != nil {
		c.place = to.PushBack(c)
	}
}

// setProved removes the limits on an unproved connection. The caller holds listener.mu.
func (c *Conn) setProved(class *class) {
	c.move(class)
	if c.expiry != nil {
		c.expiry.Stop()
	}
	if !c.proved.Swap(true) {
		close(c.settled)
	}
}

// Prove makes the connection the caller's, unless it is a caller's already. It returns false if
// the caller has as many connections as it may.
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

// BeginHealth reports whether the connection may call the health service once more. If so,
// EndHealth must be called when the call ends. An unproved connection does not expire from then
// on, but joins a class with few places.
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

// EndHealth ends a call of the health service.
func (a *Admission) EndHealth(c *Conn) {
	c.healthCalls.Add(-1)
	a.healthCalls.Add(-1)
}

// joinHealth moves an unproved connection to the class for health, and refills its budget in each
// healthPeriod.
func (c *Conn) joinHealth() {
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.closed || c.proved.Load() {
		return
	}
	now := time.Now()
	if c.class == l.health && now.Sub(c.refilled) < healthPeriod {
		c.budget.Add(callBytes) // which Called subtracted: the number of these calls is limited anyway
		return
	}
	if c.class == l.unproved {
		l.enter(c, l.health)
	}
	c.budget.Store(healthBytes)
	c.refilled = now
}

// Called counts a call of the connection.
func (c *Conn) Called() {
	if !c.proved.Load() {
		c.budget.Add(-callBytes)
	}
}

// Read implements net.Conn. On an unproved connection it reads no more than the budget.
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

// awaitProof waits for a call that was already received to prove the connection, and reports
// whether one did.
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
