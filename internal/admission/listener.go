package admission

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

// How many connections of a class a listener has at once, in all and from one source.
const (
	unprovedConnections = 200
	unprovedPerSource   = 64
	healthConnections   = 64
	healthPerSource     = 16
)

// listener limits the connections of a net.Listener.
type listener struct {
	net.Listener
	limit      int // of all connections
	trusted    func() bool
	reached    Observer
	onlyNumber bool // the time and the bytes of unproved connections are not limited

	mu       sync.Mutex // guards the following, and parts of each Conn
	open     int
	unproved *class
	health   *class // unproved connections that have called the health service
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

// admit counts a new connection, and closes an older one if there are too many. It returns nil if
// all the others are callers' connections.
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

// evictOldest evicts the oldest connection that is no caller's, and reports whether there was one.
// While the listener is trusted, connections that need no proof are not evicted. The caller holds
// mu.
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

// enter moves a connection to a class, and evicts an older one if the class has too many. The
// caller holds mu.
func (l *listener) enter(c *Conn, to *class) {
	c.move(to)
	if over := to.over(c.source); over != nil {
		l.evict(over, to.limit)
	}
}

// expire evicts a connection if it is still unproved.
func (l *listener) expire(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.class == l.unproved {
		l.evict(c, Unproved)
	}
}

// evict closes a connection because of a limit. The caller holds mu.
func (l *listener) evict(c *Conn, because Limit) {
	l.drop(c)
	l.reached(because, "")
	go func() { _ = c.Close() }() // to close a TLS connection may block
}

// remove stops counting a connection.
func (l *listener) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(c)
}

// drop stops counting a connection. The caller holds mu.
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

// class is a list of connections, the oldest first, with a limit on their number.
type class struct {
	list.List       // of *Conn
	limit           Limit
	most, perSource int
}

// over returns the oldest connection of a source that has too many in the class, or the oldest of
// all if the class has too many; otherwise nil.
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

// subnetBits is how many leading bits of an IPv6 address all addresses of one customer share.
const subnetBits = 64

// SourceOf returns the source of connections from an address: the IPv4 address or the IPv6 /64
// network. It is the zero Prefix for other addresses, such as those of Unix sockets, and for nil.
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
