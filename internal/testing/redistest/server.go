// Package redistest runs redis-server processes for tests: a single server, a master that Sentinels
// watch, or a Cluster. The package also contains a proxy that disturbs the connections to a server.
//
// Functions and methods of this package end the test when they fail, so they must be called only
// from the goroutine of the test.
package redistest

import (
	"context"
	"crypto/tls"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/authmaterial/broker/internal/testing/processtest"
)

const startLimit = 20 * time.Second

// `admin` is the Redis user of the clients that Client returns, and has no password.
const admin = "redistest"

// Server is a Redis server on 127.0.0.1. A Server is not safe for concurrent use.
type Server struct {
	t       testing.TB
	port    int
	command func(port int) *exec.Cmd
	ready   string // text in the log line that shows that the server is ready
	process *processtest.Process
	stopped bool

	client *redis.Client
	tls    *tls.Config
	caFile string
}

// Start starts a Redis server that does not store its data on disk, with further command-line
// arguments such as "--requirepass", "swordfish". When Start returns, the server answers commands.
// The server is killed at the end of the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := newServer(t, nil, args)
	s.start()
	return s
}

// newServer returns a server that is not running yet. With TLS settings, the server accepts only
// TLS connections.
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

func executable(t testing.TB) string {
	t.Helper()
	path, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *Server) start() {
	s.t.Helper()
	processtest.OnFreePort(s.t, firstPort, ports, func(port int) error {
		s.port = port
		return s.run()
	})
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

// run starts a process on the server's port, and waits until the process answers commands.
func (s *Server) run() (err error) {
	s.process, err = processtest.StartServer(s.command(s.port), s.ready, startLimit)
	s.stopped = false
	return err
}

// Addr returns the server's address, host:port, which stays the same after Restart.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL returns the server's address as redis://host:port, or rediss://host:port with TLS.
func (s *Server) URL() string {
	if s.tls != nil {
		return "rediss://" + s.Addr()
	}
	return "redis://" + s.Addr()
}

// Client returns a client that has all permissions, whatever users and passwords the server's
// arguments set. The client is closed at the end of the test.
func (s *Server) Client() *redis.Client { return s.client }

// Runs reports whether the server's process exists and is not suspended.
func (s *Server) Runs() bool { return s.process.Runs() && !s.stopped }

// Kill ends the process with SIGKILL, and waits until it has ended.
func (s *Server) Kill() { s.process.Kill() }

// Stop suspends the process with SIGSTOP. A suspended server accepts connections but does not
// answer.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.process.Stop(); err != nil {
		s.t.Fatalf("suspend the server: %v", err)
	}
	s.stopped = true
}

// Continue resumes the suspended process.
func (s *Server) Continue() {
	s.t.Helper()
	if err := s.process.Continue(); err != nil {
		s.t.Fatalf("resume the server: %v", err)
	}
	s.stopped = false
}

// Restart kills the process if it is running, and starts a new one without data on the same port.
// When Restart returns, the new process answers commands.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

// The servers listen on ports from 10000 on. The bus of a Cluster node listens on the port of
// the node plus 10000. On Linux all these ports are below the ephemeral ports.
const (
	firstPort = 10_000
	ports     = 10_000
)
