package admission

import (
	"container/list"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// errUnproved ends a connection that has sent too much.
var errUnproved = errors.New("the connection has sent too much without proving whose it is")

// Conn is a connection of a bounded listener. It counts until it is closed.
type Conn struct {
	net.Conn
	source   Source
	listener *listener
	proof    chan struct{} // closed when the connection is proved
	gone     chan struct{} // closed when the connection is
	proved   atomic.Bool
	budget   atomic.Int64           // bytes that it can still send
	health   atomic.Int64           // calls for the broker's health, at once
	caller   atomic.Pointer[Caller] // whose it is; nil: nobody's. It changes under the mu of the listener.
	expiry   *time.Timer            // nil: it does not expire

	// The following is guarded by the mu of the listener.
	class           *class // nil: it is a caller's, or has left
	inAll, inSource *list.Element
	refilled        time.Time // when the budget was full last
	left            bool
}

func newConn(inner net.Conn, l *listener) *Conn {
	c := &Conn{Conn: inner, source: SourceOf(inner.RemoteAddr()), listener: l, proof: make(chan struct{}), gone: make(chan struct{})}
	c.budget.Store(unprovedBytes)
	if !l.bounded {
		c.proved.Store(true) // of bytes there is no bound
	}
	return c
}

// setProved ends the bounds on an unproved connection. The caller holds the mu of the listener.
func (c *Conn) setProved() {
	if c.class != nil {
		c.class.remove(c)
	}
	if c.expiry != nil {
		c.expiry.Stop()
	}
	if !c.proved.Swap(true) {
		close(c.proof)
	}
}

// expireLater closes the connection after unprovedTime, unless it is proved by then.
func (c *Conn) expireLater() {
	c.expiry = time.AfterFunc(unprovedTime, func() {
		c.listener.mu.Lock()
		defer c.listener.mu.Unlock()
		if c.class == c.listener.unproved {
			c.listener.evict(c, Unproved)
		}
	})
}

// Prove makes the connection a caller's, if it is nobody's yet. It reports false where the caller
// has as many as it may.
func (c *Conn) Prove(caller *Caller) bool {
	if c.caller.Load() != nil || caller.unlimited && c.proved.Load() {
		return true
	}
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.left || c.caller.Load() != nil {
		return true
	}
	if !caller.takeConnection() {
		return false
	}
	c.caller.Store(caller)
	c.setProved()
	return true
}

// asksForHealth notes that the connection asks for the broker's health. If it is unproved it stays
// open from now on, as one of few.
func (c *Conn) asksForHealth() {
	if c.proved.Load() {
		return
	}
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	now := time.Now()
	switch {
	case c.left || c.proved.Load():
	case c.class == c.listener.unproved:
		c.listener.enter(c, c.listener.health)
		c.budget.Store(healthBytes)
		c.refilled = now
	case now.Sub(c.refilled) >= healthPeriod:
		c.budget.Store(healthBytes)
		c.refilled = now
	default:
		c.budget.Add(callBytes) // of these calls the number at once is bounded
	}
}

// Called counts a call of an unproved connection.
func (c *Conn) Called() {
	if !c.proved.Load() {
		c.budget.Add(-callBytes)
	}
}

// Read implements net.Conn. Until the connection is proved it reads no more than may be sent.
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

// awaitProof waits for the proof, which may be in what was read already.
func (c *Conn) awaitProof() bool {
	late := time.NewTimer(proofDelay)
	defer late.Stop()
	select {
	case <-c.proof:
		return true
	case <-late.C:
		c.listener.reached(Unproved, "")
	case <-c.gone:
	}
	return false
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.listener.mu.Lock()
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.listener.leave(c)
	select {
	case <-c.gone:
	default:
		close(c.gone)
	}
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// SyscallConn implements syscall.Conn.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return socket.SyscallConn()
}
