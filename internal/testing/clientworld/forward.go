package clientworld

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
)

// forwarder passes connections to Unix sockets in turn, and skips sockets on which nobody listens.
type forwarder struct {
	listener net.Listener
	sockets  []string
	next     atomic.Uint64
}

func newForwarder(sockets ...string) (*forwarder, error) {
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports))
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		if err == nil {
			f := &forwarder{listener: listener, sockets: sockets}
			go f.acceptAll()
			return f, nil
		}
	}
	return nil, fmt.Errorf("no free port between %d and %d", firstPort, firstPort+ports)
}

func (f *forwarder) acceptAll() {
	for {
		connection, err := f.listener.Accept()
		if err != nil {
			return
		}
		go f.forward(connection)
	}
}

func (f *forwarder) forward(from net.Conn) {
	defer func() { _ = from.Close() }()
	to := f.dial()
	if to == nil {
		return
	}
	defer func() { _ = to.Close() }()
	var both sync.WaitGroup
	both.Go(func() { passAll(to, from) })
	both.Go(func() { passAll(from, to) })
	both.Wait()
}

func (f *forwarder) dial() net.Conn {
	first := f.next.Add(1)
	for i := range uint64(len(f.sockets)) {
		socket := f.sockets[(first+i)%uint64(len(f.sockets))]
		to, err := (&net.Dialer{}).DialContext(context.Background(), "unix", socket)
		if err == nil {
			return to
		}
	}
	return nil
}

// passAll copies data until either side ends, and then closes both.
func passAll(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}
