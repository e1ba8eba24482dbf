package redistest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// FaultProxy forwards TCP connections to a server, and simulates connection faults when a test
// asks for them. The fault that was set last applies to all connections, including existing
// connections. A FaultProxy is safe for concurrent use.
type FaultProxy struct {
	listener net.Listener
	target   string
	ended    chan struct{} // a channel that is closed at the end of the test
	handlers sync.WaitGroup

	mu      sync.Mutex
	fault   fault
	changed chan struct{} // a channel that is closed when the fault changes
	open    map[net.Conn]bool
}

// fault describes a disturbance of connections. The zero value describes a proxy that forwards
// everything.
type fault struct {
	delay     time.Duration // how long each reply is delayed
	cut       bool          // close the connection once, in the middle of the next reply
	cutAfter  int           // close the connection after this number of bytes
	replace   *replacement  // replies to send instead of some replies of the server; nil: none
	refuse    bool
	blackhole bool
}

// Proxy starts a proxy on 127.0.0.1. The proxy forwards connections to the target, which is a
// host:port. It stops at the end of the test.
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

// Pass ends all faults. The proxy then forwards everything, including the bytes that it has held
// back.
func (p *FaultProxy) Pass() { p.set(fault{}) }

// Delay makes the proxy delay each reply by the duration d. The proxy forwards requests at once.
func (p *FaultProxy) Delay(d time.Duration) { p.set(fault{delay: d}) }

// CutMidReply affects one connection: the connection that receives the next reply. The proxy
// forwards the given number of bytes of this reply and then closes the connection. It forwards
// everything else.
func (p *FaultProxy) CutMidReply(bytes int) { p.set(fault{cut: true, cutAfter: bytes}) }

// Replace makes the proxy replace every n-th reply of the server. It uses the given replies in
// turn. It forwards everything else.
func (p *FaultProxy) Replace(n int, replies ...[]byte) {
	p.set(fault{replace: &replacement{every: n, replies: replies}})
}

// Refuse makes the proxy close all connections. From then on the proxy closes each new
// connection as soon as it is accepted.
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
