package redistest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// FaultProxy forwards TCP connections to a server, and simulates the connection fault that was set
// last. A new fault also applies to existing connections. A FaultProxy is safe for concurrent use.
type FaultProxy struct {
	listener net.Listener
	target   string
	ended    chan struct{} // closed at the end of the test
	handlers sync.WaitGroup

	mu      sync.Mutex
	fault   fault
	changed chan struct{} // closed when the fault changes
	open    map[net.Conn]bool
}

// fault describes a disturbance of connections. With the zero value the proxy forwards everything.
type fault struct {
	delay     time.Duration // delay of each reply
	cut       bool          // whether to close the connection once, in the middle of the next reply
	cutAfter  int           // number of bytes after which to close the connection
	replace   *replacement  // replies that replace some replies of the server
	refuse    bool
	blackhole bool
}

// Proxy starts a proxy on 127.0.0.1 that forwards connections to the target, a host:port. The proxy
// stops at the end of the test.
func Proxy(t testing.TB, target string) *FaultProxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &FaultProxy{
		listener: listener,
		target:   target,
		ended:    make(chan struct{}),
		changed:  make(chan struct{}),
		open:     map[net.Conn]bool{},
	}
	p.handlers.Go(p.serve)
	t.Cleanup(func() {
		close(p.ended)
		_ = listener.Close()
		p.Refuse()
		p.handlers.Wait()
	})
	return p
}

// Addr returns the proxy's address, host:port.
func (p *FaultProxy) Addr() string { return p.listener.Addr().String() }

// Pass ends all faults. The proxy then forwards everything, including the bytes that it held back.
func (p *FaultProxy) Pass() { p.set(fault{}) }

// Delay makes the proxy delay each reply by d. The proxy forwards requests at once.
func (p *FaultProxy) Delay(d time.Duration) { p.set(fault{delay: d}) }

// CutMidReply makes the proxy close the connection that receives the next reply, after it has
// forwarded the given number of bytes of that reply. CutMidReply does not affect other connections.
func (p *FaultProxy) CutMidReply(bytes int) { p.set(fault{cut: true, cutAfter: bytes}) }

// Replace makes the proxy replace every n-th reply of the server by the given replies in turn.
func (p *FaultProxy) Replace(n int, replies ...[]byte) {
	p.set(fault{replace: &replacement{every: n, replies: replies}})
}

// Refuse makes the proxy close all connections, and each new connection as soon as it is accepted.
func (p *FaultProxy) Refuse() { p.set(fault{refuse: true}) }

// Blackhole makes the proxy accept connections, but hold back all bytes in both directions.
func (p *FaultProxy) Blackhole() { p.set(fault{blackhole: true}) }

func (p *FaultProxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	close(p.changed)
	p.changed = make(chan struct{})
	if f.refuse {
		for connection := range p.open {
			_ = connection.Close()
		}
	}
}
