package server

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
)

// limitListener closes connections beyond a limit, of which each source has its share. All
// over TCP of this machine are one.
type limitListener struct {
	net.Listener
	shares  *shares[source]
	memory  *shares[origins]
	open    *openConns
	refused func()
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if from := sourceOf(conn); l.shares.enter(from, 1) {
			return l.count(conn, from), nil
		}
		_ = conn.Close()
		l.refused()
	}
}

// count counts a connection until it is closed.
func (l *limitListener) count(conn net.Conn, from source) *limitedConn {
	c := &limitedConn{Conn: conn, listener: l, held: newHeld(l.memory, from)}
	c.leave = sync.OnceFunc(func() {
		c.held.end()
		l.open.remove(c)
		l.shares.leave(from, 1)
	})
	c.held.close = func() { _ = c.Close() }
	l.open.add(c)
	return c
}

// limitedConn is a connection that counts until it is closed.
type limitedConn struct {
	net.Conn
	listener *limitListener
	held     *held // what it has the broker keep
	leave    func()
	cutOff   bool // by openConns
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// SyscallConn implements syscall.Conn.
func (c *limitedConn) SyscallConn() (syscall.RawConn, error) {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return socket.SyscallConn()
}

// subnet is how much of an IPv6 address one customer of a network has for itself.
const subnet = 64

// source is where connections come from: a remote network or, on this machine, a user at the
// other end of a Unix socket. It is zero where neither is known.
type source struct {
	network netip.Prefix
	user    string
}

func sourceOf(conn net.Conn) source {
	if conn.LocalAddr().Network() != "unix" {
		return source{network: origin(conn.RemoteAddr())}
	}
	id, err := peerUserID(conn)
	if err != nil || id == nil {
		return source{} // the handshake says what is wrong
	}
	return source{user: strconv.FormatUint(uint64(*id), 10)}
}

// origin is the remote IPv4 address or IPv6 subnet. It is zero for this machine.
func origin(address net.Addr) netip.Prefix {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	if ip.IsLoopback() {
		return netip.Prefix{}
	}
	prefix, err := ip.WithZone("").Prefix(min(ip.BitLen(), subnet))
	if err != nil {
		return netip.Prefix{} // only for an address that is none
	}
	return prefix
}
