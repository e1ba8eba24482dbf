package processtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// StartServer starts a command that listens on a port, and waits until a line of its log contains
// the text in `ready`. A server that is not ready after the given time is killed. The error is
// syscall.EADDRINUSE if another process uses the port.
func StartServer(command *exec.Cmd, ready string, limit time.Duration) (*Process, error) {
	log := &log{awaited: ready, ready: make(chan struct{})}
	command.Stdout, command.Stderr = log, log
	p, err := Start(command)
	if err != nil {
		return p, err
	}
	select {
	case <-log.ready:
		return p, nil
	case <-p.Ended():
		if strings.Contains(log.String(), "Address already in use") {
			return p, fmt.Errorf("%s cannot listen on its port: %w", command.Path, syscall.EADDRINUSE)
		}
		return p, fmt.Errorf("%s ended while it was starting:\n%s", command.Path, log)
	case <-time.After(limit):
		p.Kill()
		return p, fmt.Errorf("%s is not ready after %v:\n%s", command.Path, limit, log)
	}
}

// OnFreePort calls `start` with a free port of the range, and again with another port if the error
// is syscall.EADDRINUSE. Until the end of the test the port is not used for another server, not
// even by another test binary, so the server can be started again on the same port. Other programs
// can use the port while the server does not run.
func OnFreePort(t testing.TB, first, ports int, start func(port int) error) {
	t.Helper()
	for {
		port := first + rand.IntN(ports)
		// Test binaries reserve a port by a UDP socket with the same port number.
		reservation, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err == nil {
			t.Cleanup(func() { _ = reservation.Close() })
			err = start(port)
		}
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// FreeAddress returns a loopback address, HOST:PORT, at which nothing listens. The port is reserved as by
// OnFreePort, and the system gives it to no connection.
func FreeAddress(t testing.TB) (address string) {
	t.Helper()
	OnFreePort(t, 19000, 1000, func(port int) error {
		address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		listener, err := net.Listen("tcp", address) //nolint:noctx // a test
		if err != nil {
			return err
		}
		return listener.Close()
	})
	return address
}

const tailSize = 8 << 10

// `log` keeps the end of a process's log, up to tailSize bytes. A log is safe for concurrent use.
type log struct {
	awaited string        // text in the log line that shows that the process is ready
	ready   chan struct{} // closed when the log contains the awaited text

	mu   sync.Mutex
	tail string
	seen bool
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail += string(p)
	if !l.seen && strings.Contains(l.tail, l.awaited) {
		l.seen = true
		close(l.ready)
	}
	l.tail = l.tail[max(0, len(l.tail)-tailSize):]
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail
}
