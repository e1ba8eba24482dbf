package redistest

import (
	"context"
	"net"
	"sync"
	"time"
)

func (p *FaultProxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.handlers.Go(func() { p.connect(client) })
	}
}

func (p *FaultProxy) connect(client net.Conn) {
	defer p.track(client)()
	if !p.hold(false) {
		return
	}
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return
	}
	defer p.track(server)()
	var requests sync.WaitGroup
	defer requests.Wait()
	requests.Go(func() {
		p.passRequests(client, server)
		_ = server.Close()
	})
	p.passReplies(server, client)
	_ = client.Close()
}

// track records an open connection, and returns a function that closes the connection.
func (p *FaultProxy) track(connection net.Conn) (untrack func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[connection] = true
	if p.fault.refuse {
		_ = connection.Close()
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, connection)
		_ = connection.Close()
	}
}

const bufferSize = 16 << 10

func (p *FaultProxy) passRequests(client, server net.Conn) {
	buffer := make([]byte, bufferSize)
	for {
		n, err := client.Read(buffer)
		if err != nil || !p.hold(false) {
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *FaultProxy) passReplies(server, client net.Conn) {
	buffer := make([]byte, bufferSize)
	cut, left := false, 0 // if `cut` is true, the proxy closes the connection after `left` bytes
	for {
		n, err := server.Read(buffer)
		if err != nil || !p.hold(true) {
			return
		}
		if !cut {
			cut, left = p.takeCut()
		}
		if cut {
			n = min(n, left)
			left -= n
		}
		reply := p.replaced(buffer[:n])
		if _, err := client.Write(reply); err != nil || cut && left == 0 {
			return
		}
	}
}

// takeCut reports whether the proxy must close the connection that now receives a reply, and after
// how many bytes. The result `cut` is true once for each call of CutMidReply.
func (p *FaultProxy) takeCut() (cut bool, after int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cut, p.fault.cut = p.fault.cut, false
	return cut, p.fault.cutAfter
}

type replacement struct {
	every   int
	replies [][]byte

	seen int // number of the server's replies so far, including replaced ones
}

// `replaced` returns the bytes to send to the client for a reply of the server: usually the reply
// itself.
func (p *FaultProxy) replaced(reply []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.fault.replace
	if r == nil {
		return reply
	}
	r.seen++
	if r.seen%r.every != 0 {
		return reply
	}
	return r.replies[(r.seen/r.every-1)%len(r.replies)]
}

// `hold` waits until the proxy may forward bytes, or returns false when the test ends.
func (p *FaultProxy) hold(reply bool) bool {
	for {
		p.mu.Lock()
		fault, changed := p.fault, p.changed
		p.mu.Unlock()
		var delayed <-chan time.Time // with Blackhole, the channel stays nil, and so is never ready
		switch {
		case fault.blackhole:
		case reply && fault.delay > 0:
			delayed = time.After(fault.delay)
		default:
			return true
		}
		select {
		case <-delayed:
			return true
		case <-changed:
		case <-p.ended:
			return false
		}
	}
}
