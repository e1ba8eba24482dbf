package admission

import (
	"container/list"
	"net"
	"sync"
)

// listener bounds the connections of a net.Listener.
type listener struct {
	net.Listener
	limit   int
	trusted func() bool
	reached Observer
	bounded bool // unproved connections have a bounded time and bounded bytes

	mu               sync.Mutex // guards what follows, and what its connections say it guards
	open             int
	unproved, health *class
	needNone         *class // those that needed no proof when they were accepted
}

func newListener(inner net.Listener, limit int, trusted func() bool, reached Observer) *listener {
	return &listener{
		Listener: inner, limit: limit, trusted: trusted, reached: reached, bounded: true,
		unproved: newClass(Unproved, min(limit, unprovedConnections), unprovedPerSource),
		health:   newClass(Health, min(limit, healthConnections), healthPerSource),
		needNone: newClass(Connections, limit, limit),
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

// admit returns a connection with a place, or nil: all places are taken by callers.
func (l *listener) admit(inner net.Conn) *Conn {
	c := newConn(inner, l)
	trusted := l.trusted()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.limit && !l.makeRoom() {
		return nil
	}
	l.open++
	if trusted {
		c.setProved()
		l.needNone.add(c)
		return c
	}
	l.enter(c, l.unproved)
	if l.bounded {
		c.expireLater()
	}
	return c
}

// makeRoom closes the oldest connection that is no caller's but should be, and reports whether there
// was one. The caller holds mu.
func (l *listener) makeRoom() bool {
	for _, of := range []*class{l.unproved, l.health, l.needNone} {
		if of == l.needNone && l.trusted() {
			continue
		}
		if oldest := of.oldest(); oldest != nil {
			l.evict(oldest, Connections)
			return true
		}
	}
	return false
}

// enter moves a connection to a class, in which the oldest ones make room. The caller holds mu.
func (l *listener) enter(c *Conn, to *class) {
	if c.class != nil {
		c.class.remove(c)
	}
	to.add(c)
	for over := to.over(c.source); over != nil; over = to.over(c.source) {
		l.evict(over, to.name)
	}
}

// evict closes a connection. The caller holds mu.
func (l *listener) evict(c *Conn, because Limit) {
	l.leave(c)
	l.reached(because, "")
	go func() { _ = c.Close() }() // a TLS connection may block
}

// leave gives up the place of a connection. The caller holds mu.
func (l *listener) leave(c *Conn) {
	if c.left {
		return
	}
	c.left = true
	l.open--
	if c.class != nil {
		c.class.remove(c)
	}
	if caller := c.caller.Load(); caller != nil {
		caller.connections.Add(-1)
	}
}

// class is connections that share a number of places.
type class struct {
	name             Limit
	limit, perSource int
	all              *list.List // of *Conn, the oldest first
	bySource         map[Source]*list.List
}

func newClass(name Limit, limit, perSource int) *class {
	return &class{name: name, limit: limit, perSource: perSource, all: list.New(), bySource: map[Source]*list.List{}}
}

func (k *class) add(c *Conn) {
	same := k.bySource[c.source]
	if same == nil {
		same = list.New()
		k.bySource[c.source] = same
	}
	c.class, c.inAll, c.inSource = k, k.all.PushBack(c), same.PushBack(c)
}

func (k *class) remove(c *Conn) {
	k.all.Remove(c.inAll)
	same := k.bySource[c.source]
	if same.Remove(c.inSource); same.Len() == 0 {
		delete(k.bySource, c.source)
	}
	c.class = nil
}

// oldest returns the connection that has been in the class for the longest time, or nil.
func (k *class) oldest() *Conn {
	if front := k.all.Front(); front != nil {
		return front.Value.(*Conn)
	}
	return nil
}

// over returns the connection to close because there are too many: of that source, or at all; or
// nil.
func (k *class) over(from Source) *Conn {
	if same := k.bySource[from]; same != nil && same.Len() > k.perSource {
		return same.Front().Value.(*Conn)
	}
	if k.all.Len() > k.limit {
		return k.oldest()
	}
	return nil
}
