package clientworld

import (
	"bufio"
	"crypto/tls"
	"net"
	"time"
)

// mixedListener accepts connections with and without TLS on one port.
type mixedListener struct {
	net.Listener
	config   *tls.Config
	accepted chan net.Conn
	closed   chan struct{}
}

const tlsHandshake = 0x16 // the first byte of a TLS connection

func newMixedListener(inner net.Listener, config *tls.Config) *mixedListener {
	l := &mixedListener{Listener: inner, config: config, accepted: make(chan net.Conn), closed: make(chan struct{})}
	go l.acceptAll()
	return l
}

func (l *mixedListener) acceptAll() {
	defer close(l.closed)
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return
		}
		go l.sort(connection)
	}
}

// sort reads the first byte of a connection to find out whether it uses TLS.
func (l *mixedListener) sort(connection net.Conn) {
	peeked := &peekedConn{connection, bufio.NewReader(connection)}
	_ = connection.SetReadDeadline(time.Now().Add(patience))
	first, err := peeked.reader.Peek(1)
	_ = connection.SetReadDeadline(time.Time{})
	if err != nil {
		_ = connection.Close()
		return
	}
	var sorted net.Conn = peeked
	if first[0] == tlsHandshake {
		sorted = tls.Server(peeked, l.config)
	}
	select {
	case l.accepted <- sorted:
	case <-l.closed:
		_ = connection.Close()
	}
}

// Accept implements net.Listener.
func (l *mixedListener) Accept() (net.Conn, error) {
	select {
	case connection := <-l.accepted:
		return connection, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

type peekedConn struct {
	net.Conn
	reader *bufio.Reader
}

// Read implements net.Conn.
func (c *peekedConn) Read(p []byte) (int, error) { return c.reader.Read(p) }
