// Package redistest runs redis-server processes for tests: one server, a master watched
// by Sentinels, or a Cluster; and a proxy that disturbs the connections to one.
//
// The functions and methods end the test when they fail, so they are for the goroutine
// of the test.
package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// startLimit bounds the start of one process.
const startLimit = 20 * time.Second

// admin is the user that a Client is. Any password is his.
const admin = "redistest"

// Server is one server on 127.0.0.1. It is not safe for concurrent use.
type Server struct {
	t       testing.TB
	port    int
	command func(port int) *exec.Cmd
	ready   string // in the log's line that ends the start
	process process
	stopped bool

	client *redis.Client
	tls    *tls.Config
	caFile string
}

// Start starts a server that persists nothing, with further arguments such as
// "--requirepass", "swordfish". It answers when Start returns. The end of the test kills
// it.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := newServer(t, nil, args)
	s.start()
	return s
}

// newServer returns a server that does not run yet. With TLS it speaks nothing else.
func newServer(t testing.TB, config *tls.Config, args []string) *Server {
	t.Helper()
	path, dir := executable(t), t.TempDir()
	return &Server{
		t: t,
		command: func(port int) *exec.Cmd {
			portArg := "--port"
			if config != nil {
				portArg = "--tls-port"
			}
			return exec.CommandContext(context.Background(), path, slices.Concat([]string{
				portArg, strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
				"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
				"--user", admin, "on", "nopass", "~*", "&*", "+@all",
			}, args)...)
		},
		ready: "Ready to accept connections",
		tls:   config,
	}
}

// executable is Find, and ends the test where there is no server.
func executable(t testing.TB) string {
	t.Helper()
	path, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts the server on a port of its own.
func (s *Server) start() {
	s.t.Helper()
	for {
		port, reservation, err := reservePort()
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = reservation.Close() })
		s.port = port
		if err = s.run(); err == nil {
			break
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			s.t.Fatal(err)
		}
	}
	s.client = redis.NewClient(&redis.Options{
		Addr: s.Addr(), Username: admin, Password: "any", TLSConfig: s.tls,
		ContextTimeoutEnabled:    true,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	s.t.Cleanup(func() {
		_ = s.client.Close()
		s.Kill()
	})
}

// run starts a process on the server's port, and waits until it answers. The error is
// syscall.EADDRINUSE when the port is another's.
func (s *Server) run() error {
	command := s.command(s.port)
	p, err := startProcess(command, s.ready)
	if err != nil {
		return err
	}
	s.process, s.stopped = p, false
	select {
	case <-p.output.ready:
		return nil
	case <-p.Ended():
		if strings.Contains(p.output.String(), "Address already in use") {
			return fmt.Errorf("%s: port %d: %w", command.Path, s.port, syscall.EADDRINUSE)
		}
		return fmt.Errorf("%s ended at its start:\n%s", command.Path, p.output)
	case <-time.After(startLimit):
		s.Kill()
		return fmt.Errorf("%s is not ready after %v:\n%s", command.Path, startLimit, p.output)
	}
}

// Addr returns the server's address, host:port. It is the same after a Restart.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL returns the server's address as redis://host:port, or rediss:// with TLS.
func (s *Server) URL() string {
	if s.tls != nil {
		return "rediss://" + s.Addr()
	}
	return "redis://" + s.Addr()
}

// Client returns a client that may do everything, whatever users and passwords the
// arguments of Start set. The end of the test closes it.
func (s *Server) Client() *redis.Client { return s.client }

// Runs reports whether the server's process runs and is not stopped.
func (s *Server) Runs() bool { return s.process.Runs() && !s.stopped }

// Kill ends the process with SIGKILL, and waits for its end.
func (s *Server) Kill() { s.process.Kill() }

// Stop stops the process with SIGSTOP: connections to it are made and never answered.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.process.Stop(); err != nil {
		s.t.Fatalf("stop the server: %v", err)
	}
	s.stopped = true
}

// Continue lets a stopped process go on.
func (s *Server) Continue() {
	s.t.Helper()
	if err := s.process.Continue(); err != nil {
		s.t.Fatalf("continue the server: %v", err)
	}
	s.stopped = false
}

// Restart kills the process when it runs, and starts another on the same port, with an
// empty memory. It answers when Restart returns.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

// Servers listen on ports from 10000 on, and Cluster buses on the same 10000 higher. All
// are below those that Linux gives out by itself.
const (
	firstPort = 10_000
	ports     = 10_000
)

// reservePort returns a port that nobody else gets from here until the reservation is
// closed, in another test binary neither: so it is free between a Kill and a Restart. The
// reservation is the UDP port of that number. A program of another kind may have the port.
func reservePort() (port int, reservation io.Closer, err error) {
	err = error(syscall.EADDRINUSE)
	for errors.Is(err, syscall.EADDRINUSE) {
		port = firstPort + rand.IntN(ports)
		reservation, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	}
	return port, reservation, err
}
