package admission_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/config"
)

// No test reaches these limits, because they are too large.
var limits = config.Limits{
	Connections: 1000, ConnectionsPerCaller: 32, ConcurrentCalls: 1000, WatchesPerCaller: 100, CallsPerSecond: 1000, CallBurst: 2000,
}

func address(text string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text))
}

// fakeListener accepts the connections that a test makes.
type fakeListener struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *fakeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }
func (*fakeListener) Addr() net.Addr { return address("127.0.0.1:1") }

type fakeConn struct {
	net.Conn
	from net.Addr
}

func (c fakeConn) RemoteAddr() net.Addr { return c.from }

// scene contains a listener for a test in a synctest bubble.
type scene struct {
	*testing.T
	admission *admission.Admission
	listener  net.Listener
	fake      *fakeListener
	mu        sync.Mutex
	reached   []admission.Limit
	distrusts atomic.Bool // the listener is no longer trusted
}

func inScene(t *testing.T, l config.Limits, trusted bool, test func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{T: t, fake: &fakeListener{accepted: make(chan net.Conn), closed: make(chan struct{})}}
		s.admission = admission.New(l, func(limit admission.Limit, _ string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.reached = append(s.reached, limit)
		})
		s.listener = s.admission.Listener(s.fake, func() bool { return trusted && !s.distrusts.Load() })
		test(s)
		_ = s.fake.Close()
	})
}

func (s *scene) wantReached(want ...admission.Limit) {
	s.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.reached, want) {
		s.Errorf("the limits reached are %q, want %q", s.reached, want)
	}
	s.reached = nil
}

// connect opens a connection, which is closed when the test ends.
func (s *scene) connect(from string) (client net.Conn, server *admission.Conn) {
	s.Helper()
	client, inner := net.Pipe()
	s.Cleanup(func() { _ = client.Close() })
	go func() { s.fake.accepted <- fakeConn{inner, address(from)} }()
	accepted, err := s.listener.Accept()
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = accepted.Close() })
	return client, accepted.(*admission.Conn)
}

func isOpen(client net.Conn) bool {
	synctest.Wait()
	_ = client.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := client.Read(make([]byte, 1))
	return err != io.EOF //nolint:errorlint // net.Pipe does not wrap io.EOF
}

func TestUnprovedConnectionExpires(t *testing.T) {
	inScene(t, limits, false, func(s *scene) {
		silent, _ := s.connect("192.0.2.1:1")
		proved, server := s.connect("192.0.2.1:2")
		if !server.Prove(s.admission.Caller("a")) {
			s.Error("a caller's first connection is refused")
		}
		<-time.After(10*time.Second - 10*time.Millisecond)
		if !isOpen(silent) {
			s.Error("the connection expires too early")
		}
		<-time.After(20 * time.Millisecond)
		if isOpen(silent) || !isOpen(proved) {
			s.Error("after 10s, the unauthenticated connection is open, or the authenticated one is closed")
		}
		s.wantReached(admission.Unproved)
	})
}

func TestOldestUnprovedConnectionIsEvicted(t *testing.T) {
	inScene(t, limits, false, func(s *scene) {
		var clients []net.Conn
		for range 65 {
			client, _ := s.connect("192.0.2.1:1")
			clients = append(clients, client)
		}
		if isOpen(clients[0]) || !isOpen(clients[1]) {
			s.Error("after 65 connections from one address, the first one is open, or a later one is closed")
		}
		s.wantReached(admission.Unproved)
		for i := range 136 { // with the 64 connections of the first address, the listener then has 200 connections
			s.connect(fmt.Sprintf("198.51.100.%d:1", i))
		}
		if !isOpen(clients[1]) {
			s.Error("a connection is closed although the listener has only 200 unauthenticated ones")
		}
		s.connect("198.51.100.200:1")
		if isOpen(clients[1]) || !isOpen(clients[2]) {
			s.Error("after 201 connections, the oldest one is open, or a later one is closed")
		}
		s.wantReached(admission.Unproved)
	})
}

func TestTrustedConnectionsNeedNoProof(t *testing.T) {
	inScene(t, limits, true, func(s *scene) {
		client, server := s.connect("127.0.0.1:1")
		go func() { _, _ = client.Write(make([]byte, 1<<20)) }()
		if n, err := io.CopyN(io.Discard, server, 1<<20); err != nil {
			s.Errorf("the server received %d bytes, and then the error %v", n, err)
		}
		<-time.After(time.Hour)
		if !isOpen(client) {
			s.Error("a trusted connection is closed after an hour without authentication")
		}
	})
}

// TestListenerStopsTrusting tests a trusted listener that begins to require authentication. Once
// the listener requires authentication, new connections evict unauthenticated ones, and an
// authenticated connection counts for its caller.
func TestListenerStopsTrusting(t *testing.T) {
	small := limits
	small.Connections, small.ConnectionsPerCaller = 3, 1
	inScene(t, small, true, func(s *scene) {
		idle, _ := s.connect("127.0.0.1:1")
		proved, server := s.connect("127.0.0.1:2")
		_, another := s.connect("127.0.0.1:3")
		if !another.Prove(s.admission.Everybody()) {
			s.Error("Prove returns false for the Caller that Everybody returns")
		}
		s.distrusts.Store(true)
		if !server.Prove(s.admission.Caller("a")) || another.Prove(s.admission.Caller("a")) {
			s.Error("a caller's first connection is refused, or its second connection is allowed")
		}
		s.wantReached(admission.ConnectionsPerCaller)
		s.connect("127.0.0.1:4")
		if isOpen(idle) || !isOpen(proved) {
			s.Error("the unauthenticated connection is not evicted")
		}
		s.wantReached(admission.Connections)
	})
}

func TestBytesOfAnUnprovedConnection(t *testing.T) {
	for _, proves := range []bool{false, true} {
		inScene(t, limits, false, func(s *scene) {
			client, server := s.connect("192.0.2.1:1")
			go func() { _, _ = client.Write(make([]byte, 128<<10)) }()
			if proves {
				time.AfterFunc(500*time.Millisecond, func() { server.Prove(s.admission.Caller("a")) })
			}
			n, err := io.CopyN(io.Discard, server, 128<<10)
			if want := map[bool]int64{false: 64 << 10, true: 128 << 10}[proves]; n != want || (err == nil) != proves {
				s.Errorf("with authentication %v, the server received %d bytes, and the error is %v", proves, n, err)
			}
		})
	}
}

func TestConnectionsOfACaller(t *testing.T) {
	small := limits
	small.ConnectionsPerCaller = 2
	inScene(t, small, false, func(s *scene) {
		caller := s.admission.Caller("a")
		var servers []*admission.Conn
		for range 3 {
			_, server := s.connect("192.0.2.1:1")
			servers = append(servers, server)
		}
		for i, want := range []bool{true, true, false} {
			if servers[i].Prove(caller) != want {
				s.Errorf("want connection %d of the caller to be accepted: %v", i, want)
			}
		}
		s.wantReached(admission.ConnectionsPerCaller)
		_ = servers[0].Close()
		_ = servers[0].Close()
		if !servers[2].Prove(s.admission.Caller("a")) || !servers[2].Prove(caller) {
			s.Error("a connection still counts after it was closed")
		}
	})
}

// In TestConnectionsOfAListener, callers use all connections of a listener except one.
func TestConnectionsOfAListener(t *testing.T) {
	small := limits
	small.Connections = 3
	inScene(t, small, false, func(s *scene) {
		for range 2 {
			_, server := s.connect("192.0.2.1:1")
			server.Prove(s.admission.Caller("a"))
		}
		first, _ := s.connect("192.0.2.2:1")
		second, server := s.connect("192.0.2.3:1")
		if isOpen(first) || !isOpen(second) {
			s.Error("the unauthenticated connection is not evicted")
		}
		s.wantReached(admission.Connections)
		server.Prove(s.admission.Caller("b"))
		client, inner := net.Pipe()
		go func() { s.fake.accepted <- fakeConn{inner, address("192.0.2.4:1")}; _ = s.fake.Close() }()
		if _, err := s.listener.Accept(); err == nil {
			s.Error("a connection beyond the limit is accepted")
		}
		if isOpen(client) {
			s.Error("a refused connection is open")
		}
		s.wantReached(admission.Connections)
	})
}

func TestHealthConnections(t *testing.T) {
	inScene(t, limits, false, func(s *scene) {
		var clients []net.Conn
		for range 17 {
			client, server := s.connect("192.0.2.1:1")
			if !s.admission.BeginHealth(server) {
				s.Error("a health call is refused")
			}
			clients = append(clients, client)
		}
		if isOpen(clients[0]) || !isOpen(clients[1]) {
			s.Error("after 17 connections from one address, the first one is open, or a later one is closed")
		}
		s.wantReached(admission.Health)
		<-time.After(time.Hour)
		if !isOpen(clients[1]) {
			s.Error("a connection that calls the health service is closed after an hour")
		}
	})
}

// TestHealthOfOneConnection checks that concurrent health calls on a connection are limited, and
// successive ones are not.
func TestHealthOfOneConnection(t *testing.T) {
	inScene(t, limits, false, func(s *scene) {
		client, server := s.connect("192.0.2.1:1")
		_, other := s.connect("192.0.2.1:2")
		for range 8 {
			if !s.admission.BeginHealth(server) {
				s.Error("fewer than 8 concurrent health calls are allowed")
			}
		}
		if s.admission.BeginHealth(server) {
			s.Error("9 concurrent health calls are allowed")
		}
		s.wantReached(admission.Health)
		if !s.admission.BeginHealth(other) {
			s.Error("a call on another connection is refused")
		}
		for range 8 {
			s.admission.EndHealth(server)
		}
		for range 3600 {
			go func() { _, _ = client.Write(make([]byte, 200)) }()
			if _, err := io.ReadFull(server, make([]byte, 200)); err != nil {
				s.Fatal(err)
			}
			server.Called()
			if !s.admission.BeginHealth(server) {
				s.Fatal("another health call is refused")
			}
			s.admission.EndHealth(server)
		}
		s.wantReached()
	})
}

func TestWatchLimitIsAPartOfAllCalls(t *testing.T) {
	small := limits
	small.ConcurrentCalls, small.WatchesPerCaller = 8, 8
	a := admission.New(small, func(admission.Limit, string) {})
	for range 2 {
		if refusal := a.Caller("one").Begin(admission.Watch, 1, time.Now()); refusal != nil {
			t.Errorf("a watch within the caller's limit is refused by %+v", refusal)
		}
	}
	if refusal := a.Caller("one").Begin(admission.Watch, 1, time.Now()); refusal == nil || refusal.Limit != admission.WatchesPerCaller {
		t.Errorf("the refusal of a watch over the caller's limit is %+v", refusal)
	}
}

func TestCallsOfACaller(t *testing.T) {
	small := limits
	small.ConcurrentCalls, small.WatchesPerCaller, small.CallsPerSecond, small.CallBurst = 8, 1, 10, 100
	a := admission.New(small, func(admission.Limit, string) {})
	one, other, now := a.Caller("one"), a.Caller("other"), time.Now()
	want := func(got *admission.Refusal, limit admission.Limit) {
		t.Helper()
		if limit == "" && got != nil || limit != "" && (got == nil || got.Limit != limit) {
			t.Errorf("the call is refused by %+v, want %q", got, limit)
		}
	}
	want(one.Begin(admission.Call, 1, now), "")
	want(one.Begin(admission.Call, 1, now), "")
	want(one.Begin(admission.Call, 1, now), admission.CallsPerCaller)
	want(other.Begin(admission.Call, 1, now), "")
	one.End(admission.Call)
	want(one.Begin(admission.Call, 90, now), "")
	one.End(admission.Call)
	want(one.Begin(admission.Call, 20, now), admission.CallsPerSecond)
	want(one.Begin(admission.Watch, 1, now), "")
	want(one.Begin(admission.Watch, 1, now), admission.WatchesPerCaller)
	one.End(admission.Watch)
	want(one.Begin(admission.Watch, 1, now), "")
	for i := range 5 {
		want(a.Caller(string(rune('a'+i))).Begin(admission.Call, 1, now), "")
	}
	want(a.Caller("last").Begin(admission.Call, 1, now), admission.ConcurrentCalls)
	one.End(admission.Watch)
	everybody := a.Everybody()
	want(everybody.Begin(admission.Call, 1_000_000, now), "")
	want(everybody.Begin(admission.Call, 1, now), admission.ConcurrentCalls)
	for range 100 {
		if !one.BeginBatch() {
			t.Error("fewer than 100 batches are allowed")
		}
	}
	if one.BeginBatch() {
		t.Error("more than 100 batches are allowed")
	}
	one.EndBatch()
	if !one.BeginBatch() {
		t.Error("a batch still counts after it has ended")
	}
}

func TestIdleCallersAreForgotten(t *testing.T) {
	a := admission.New(limits, func(admission.Limit, string) {})
	busy, idle := a.Caller("busy"), a.Caller("idle")
	if refusal := busy.Begin(admission.Call, 1, time.Now()); refusal != nil {
		t.Fatal(refusal)
	}
	for i := range 10_000 {
		a.Caller(fmt.Sprint(i))
	}
	if a.Caller("busy") != busy {
		t.Error("a caller is forgotten during its call")
	}
	if a.Caller("idle") == idle {
		t.Error("a caller that uses nothing is remembered")
	}
}

// TestCallsOfAnUnprovedConnection makes calls without a message until the connection may send no
// more bytes.
func TestCallsOfAnUnprovedConnection(t *testing.T) {
	inScene(t, limits, false, func(s *scene) {
		client, server := s.connect("192.0.2.1:1")
		for range 32 {
			server.Called()
		}
		go func() { _, _ = client.Write([]byte{0}) }()
		if _, err := server.Read(make([]byte, 1)); err == nil {
			t.Error("Read succeeds after 32 calls on an unauthenticated connection")
		}
		s.wantReached(admission.Unproved)
	})
}
