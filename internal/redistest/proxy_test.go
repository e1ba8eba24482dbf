package redistest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/redistest"
)

func TestProxyPasses(t *testing.T) {
	t.Parallel()
	_, p := proxied(t)
	c := open(t, p)
	c.ping()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, p).ping()
}

func TestProxyDelays(t *testing.T) {
	t.Parallel()
	s, p := proxied(t)
	c := open(t, p)
	const delay = 30 * time.Millisecond
	p.Delay(delay)
	start := time.Now()
	c.ping()
	if took := time.Since(start); took < delay {
		t.Errorf("the reply came after %v, want %v or more", took, delay)
	}
	p.Delay(time.Hour)
	c.send("SET key value")
	c.wantNothing()
	if got := get(t, s.Client(), "key"); got != "value" {
		t.Errorf("the server holds %q, want that the request was passed on", got)
	}
	p.Pass()
	c.want("+OK\r\n")
}

func TestProxyCuts(t *testing.T) {
	t.Parallel()
	_, p := proxied(t)
	c, other := open(t, p), open(t, p)
	p.CutMidReply(9)
	c.ping()
	other.ping()
	c.send("PING")
	c.want("+P")
	c.wantClosed()
	other.ping()
	p.CutMidReply(0)
	other.send("PING")
	other.wantClosed()
	open(t, p).ping()
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	s, p := proxied(t)
	c := open(t, p)
	c.ping()
	p.Refuse()
	c.wantClosed()
	open(t, p).wantClosed()
	p.Pass()
	open(t, p).ping()
	s.Kill()
	open(t, p).wantClosed()
	s.Restart()
	open(t, p).ping()
}

func TestProxySwallows(t *testing.T) {
	t.Parallel()
	s, p := proxied(t)
	c := open(t, p)
	c.ping()
	p.Blackhole()
	c.send("SET key value")
	later := open(t, p)
	later.send("PING")
	c.wantNothing()
	later.wantNothing()
	if got := get(t, s.Client(), "key"); got != "" {
		t.Errorf("the server holds %q, want that nothing was passed on", got)
	}
	p.Pass()
	c.want("+OK\r\n")
	later.want("+PONG\r\n")
}

func TestProxyEndsWithTest(t *testing.T) {
	t.Parallel()
	var address string
	t.Run("", func(t *testing.T) {
		_, p := proxied(t)
		address = p.Addr()
		p.Blackhole()
		open(t, p).send("PING")
	})
	if accepts(t, address) {
		t.Error("the proxy outlived its test")
	}
}

// proxied returns a server and a proxy before it.
func proxied(t *testing.T) (*redistest.Server, *redistest.FaultProxy) {
	t.Helper()
	s := redistest.Start(t)
	return s, redistest.Proxy(t, s.Addr())
}

// connection is one to a proxy, on which commands are sent as lines.
type connection struct {
	net.Conn
	t *testing.T
}

func open(t *testing.T, p *redistest.FaultProxy) connection {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
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

// ping wants an answer from the server.
func (c connection) ping() {
	c.t.Helper()
	c.send("PING")
	c.want("+PONG\r\n")
}

// want reads the bytes, which may have others after them.
func (c connection) want(reply string) {
	c.t.Helper()
	c.within(20 * time.Second)
	got := make([]byte, len(reply))
	if n, err := io.ReadFull(c, got); string(got) != reply {
		c.t.Fatalf("the reply is %q, %v, want %q", got[:n], err, reply)
	}
}

func (c connection) wantNothing() {
	c.t.Helper()
	c.within(50 * time.Millisecond)
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("%d bytes, %v, want none until the deadline", n, err)
	}
}

// wantClosed wants an end of the connection, by whichever means.
func (c connection) wantClosed() {
	c.t.Helper()
	c.within(20 * time.Second)
	if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("%d bytes, %v, want that the connection is closed", n, err)
	}
}

func (c connection) within(limit time.Duration) {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		c.t.Fatal(err)
	}
}
