package redistest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// FaultProxy passes TCP connections on to a server, and disturbs them when it is told
// to. What it was told last holds for all connections, those that exist too. It is safe
// for concurrent use.
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

// fault is what happens to connections. The zero value passes everything.
type fault struct {
	delay     time.Duration // of each reply
	cut       bool          // the next reply, once
	cutAfter  int           // so many bytes
	replace   *replacement  // of some replies; nil: none
	refuse    bool
	blackhole bool
}

// Proxy starts a proxy on 127.0.0.1 that passes everything on to the target, host:port.
// The end of the test stops it.
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

// Pass passes everything on, what was held back first.
func (p *FaultProxy) Pass() { p.set(fault{}) }

// Delay holds back each reply for so long. Requests are passed on at once.
func (p *FaultProxy) Delay(d time.Duration) { p.set(fault{delay: d}) }

// CutMidReply closes the connection that is the next to have a reply, after so many bytes
// from the server. It passes everything else on.
func (p *FaultProxy) CutMidReply(bytes int) { p.set(fault{cut: true, cutAfter: bytes}) }

// Replace passes everything on, except one reply in every n. In its place, the client
// receives the next one of the replies; after the last one, the first is next again.
func (p *FaultProxy) Replace(n int, replies ...[]byte) {
	p.set(fault{replace: &replacement{every: n, replies: replies}})
}

// Refuse closes all connections, and new ones at once.
func (p *FaultProxy) Refuse() { p.set(fault{refuse: true}) }

// Blackhole accepts connections, and holds back everything in both directions.
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
