package admission

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

// These constants are the maximum numbers of connections in a class, in total and from one source.
const (
	unprovedConnections = 200
	unprovedPerSource   = 64
	healthConnections   = 64
	healthPerSource     = 16
)

type listener struct {
	net.Listener
	limit      int // maximum number of all connections
	trusted    func() bool
	reached    Observer
	onlyNumber bool // whether to limit only the number of connections, and not their time and bytes

	mu       sync.Mutex // mutex that guards the following fields, and some fields of each Conn
	open     int
	unproved *class
	health   *class // unauthenticated connections that have called the health service
	trusting *class // connections that were accepted while the listener was trusted
}

func newListener(inner net.Listener, limit int, trusted func() bool, reached Observer) *listener {
	return &listener{
		Listener: inner, limit: limit, trusted: trusted, reached: reached,
		unproved: &class{limit: Unproved, most: min(limit, unprovedConnections), perSource: unprovedPerSource},
		health:   &class{limit: Health, most: min(limit, healthConnections), perSource: healthPerSource},
		trusting: &class{},
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(inner); c != nil {
			return c, nil
		}
		_ = inner.Close()
		l.reached(Connections, "")
	}
}

// admit counts a new connection. If the listener has too many connections, admit closes an older
// one that belongs to no caller. If all older connections belong to callers, admit returns nil.
func (l *listener) admit(inner net.Conn) *Conn {
	c := newConn(inner, l)
	trusted := l.trusted()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.limit && !l.evictOldest(trusted) {
		return nil
	}
	l.open++
	if trusted {
		c.setProved(l.trusting)
		return c
	}
	l.enter(c, l.unproved)
	if !l.onlyNumber {
		c.expiry = time.AfterFunc(unprovedTime, func() { l.expire(c) })
	}
	return c
}

// evictOldest closes the oldest connection that belongs to no caller, and reports whether there was
// one. If the listener is trusted, evictOldest closes only connections that were accepted while it
// was not. The lock mu must be held.
func (l *listener) evictOldest(trusted bool) bool {
	classes := []*class{l.unproved, l.health, l.trusting}
	if trusted {
		classes = classes[:2]
	}
	for _, k := range classes {
		if oldest := k.Front(); oldest != nil {
			l.evict(oldest.Value.(*Conn), Connections)
			return true
		}
	}
	return false
}

// `enter` moves a connection to a class, and closes an older connection of the class if there are
// too many. The lock mu must be held.
func (l *listener) enter(c *Conn, to *class) {
	c.move(to)
	if over := to.over(c.source); over != nil {
		l.evict(over, to.limit)
	}
}

func (l *listener) expire(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.class == l.unproved {
		l.evict(c, Unproved)
	}
}

// evict closes a connection because of a limit. The lock mu must be held.
func (l *listener) evict(c *Conn, because Limit) {
	l.drop(c)
	l.reached(because, "")
	go func() { _ = c.Close() }() // closing a TLS connection may block
}

func (l *listener) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(c)
}

// drop removes a connection from the listener's counts. The lock mu must be held.
func (l *listener) drop(c *Conn) {
	if c.closed {
		return
	}
	c.closed = true
	l.open--
	c.move(nil)
	if c.expiry != nil {
		c.expiry.Stop()
	}
	if caller := c.caller.Load(); caller != nil {
		caller.uses[connection].Add(-1)
	}
	if !c.proved.Load() {
		close(c.settled)
	}
}

// class is a list of the listener's connections of one kind, oldest first, with limits on their
// number.
type class struct {
	list.List       // of *Conn
	limit           Limit
	most, perSource int
}

// If the given source has too many connections in the class, `over` returns the oldest of them.
// Otherwise, if the class has too many connections, `over` returns the oldest one. If the class is
// within its limits, `over` returns nil.
func (k *class) over(source netip.Prefix) *Conn {
	var oldest *Conn
	count := 0
	for e := k.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*Conn); c.source == source {
			if count++; oldest == nil {
				oldest = c
			}
		}
	}
	switch {
	case count > k.perSource:
		return oldest
	case k.Len() > k.most:
		return k.Front().Value.(*Conn)
	}
	return nil
}

// subnetBits is the number of leading bits that all IPv6 addresses of one customer share.
const subnetBits = 64

// SourceOf returns the IPv4 address or the /64 network of an IPv6 address. SourceOf returns the
// zero Prefix for nil and for other addresses, such as those of Unix sockets.
func SourceOf(address net.Addr) netip.Prefix {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	source, err := ip.Prefix(min(ip.BitLen(), subnetBits))
	if err != nil {
		return netip.Prefix{} // the address is not valid
	}
	return source
}
