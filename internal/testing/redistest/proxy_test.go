package redistest_test

import (
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/redistest"
)

func TestProxyPasses(t *testing.T) {
	t.Parallel()
	_, p := proxied(t)
	c := open(t, p.Addr())
	c.ping()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, p.Addr()).ping()
}

func TestProxyDelays(t *testing.T) {
	t.Parallel()
	s, p := proxied(t)
	c := open(t, p.Addr())
	const delay = 30 * time.Millisecond
	p.Delay(delay)
	start := time.Now()
	c.ping()
	if took := time.Since(start); took < delay {
		t.Errorf("the reply arrived after %v, want %v or more", took, delay)
	}
	p.Delay(time.Hour)
	c.send("SET key value")
	awaitValue(t, s)
	c.wantNothing()
	p.Pass()
	c.want("+OK\r\n")
}

func TestProxyCuts(t *testing.T) {
	t.Parallel()
	_, p := proxied(t)
	c, other := open(t, p.Addr()), open(t, p.Addr())
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
	open(t, p.Addr()).ping()
}

func TestProxyReplaces(t *testing.T) {
	t.Parallel()
	s, p := proxied(t)
	c := open(t, p.Addr())
	p.Replace(2, []byte("$137438953472\r\n"), []byte(":1\r\n"))
	for _, reply := range []string{"+PONG\r\n", "$137438953472\r\n", "+PONG\r\n", ":1\r\n", "+PONG\r\n", "$137438953472\r\n"} {
		c.send("PING")
		c.want(reply)
	}
	c.ping()
	c.send("SET key value")
	c.want(":1\r\n")
	if got := get(t, s.Client(), "key"); got != "value" {
		t.Errorf("the proxy did not forward the request: the server has the value %q", got)
	}
	p.Pass()
	c.ping()
	c.ping()
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	s, p := proxied(t)
	c := open(t, p.Addr())
	c.ping()
	p.Refuse()
	c.wantClosed()
	open(t, p.Addr()).wantClosed()
	p.Pass()
	open(t, p.Addr()).ping()
	s.Kill()
	open(t, p.Addr()).wantClosed()
	s.Restart()
	open(t, p.Addr()).ping()
}

func TestProxySwallows(t *testing.T) {
	t.Parallel()
	s, p := proxied(t)
	c := open(t, p.Addr())
	c.ping()
	p.Blackhole()
	c.send("SET key value")
	later := open(t, p.Addr())
	later.send("PING")
	c.wantNothing()
	later.wantNothing()
	if got := get(t, s.Client(), "key"); got != "" {
		t.Errorf("the proxy forwarded a request: the server has the value %q, want none", got)
	}
	p.Pass()
	c.want("+OK\r\n")
	later.want("+PONG\r\n")
}

func TestProxyEndsWithTest(t *testing.T) {
	t.Parallel()
	var idle, held connection
	t.Run("", func(inner *testing.T) {
		_, p := proxied(inner)
		idle, held = open(t, p.Addr()), open(t, p.Addr())
		idle.ping()
		p.Blackhole()
		held.send("PING")
	})
	idle.wantClosed()
	held.wantClosed()
}

func proxied(t *testing.T) (*redistest.Server, *redistest.FaultProxy) {
	t.Helper()
	s := redistest.Start(t)
	return s, redistest.Proxy(t, s.Addr())
}
