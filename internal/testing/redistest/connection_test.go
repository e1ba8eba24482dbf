package redistest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// connection sends commands to a server or a proxy as lines of text.
type connection struct {
	net.Conn
	t *testing.T
}

func open(t *testing.T, address string) connection {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return connection{conn, t}
}

func (c connection) send(command string) {
	c.t.Helper()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c connection) ping() {
	c.t.Helper()
	c.send("PING")
	c.want("+PONG\r\n")
}

// `want` checks that the next bytes from the server are the given reply, which further bytes may
// follow.
func (c connection) want(reply string) {
	c.t.Helper()
	c.within(20 * time.Second)
	got := make([]byte, len(reply))
	if n, err := io.ReadFull(c, got); string(got) != reply {
		c.t.Fatalf("the reply is %q with the error %v, want %q", got[:n], err, reply)
	}
}

func (c connection) wantNothing() {
	c.t.Helper()
	c.within(50 * time.Millisecond)
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("received %d bytes and the error %v, want nothing until the deadline", n, err)
	}
}

func (c connection) wantClosed() {
	c.t.Helper()
	c.within(20 * time.Second)
	if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("received %d bytes and the error %v, want a closed connection", n, err)
	}
}

func (c connection) within(limit time.Duration) {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		c.t.Fatal(err)
	}
}

func accepts(t *testing.T, address string) bool {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
