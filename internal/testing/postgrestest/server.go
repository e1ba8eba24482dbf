// Package postgrestest runs PostgreSQL servers for tests.
//
// Functions and methods of this package end the test when they fail, so they must be called only
// from the goroutine of the test.
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/authmaterial/broker/internal/testing/processtest"
)

// startLimit is the longest time that a server may take to start.
const startLimit = 60 * time.Second

// User is the name of a database user with all permissions, and Password is this user's password.
const (
	User     = "postgres"
	Password = "correct-horse-battery-staple"
)

// PostgreSQL servers listen on ports below the ephemeral ports of Linux, and the servers of package
// redistest on other ports.
const (
	firstPort = 30_000
	ports     = 2_700
)

// Server is a PostgreSQL server on 127.0.0.1. A Server is not safe for concurrent use, except the
// method Database.
type Server struct {
	t       testing.TB
	folder  string
	args    []string
	owner   *owner
	port    int
	process *processtest.Process
	made    atomic.Int64
}

// Start starts a server with an empty database. The parameter `args` contains further command-line
// arguments, such as "-c", "fsync=on". By default, the server's data survives a crash of its
// processes, but not a crash of the system. When Start returns, the server accepts connections. The
// server is killed, and its data is deleted, at the end of the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	owner, err := findOwner()
	if err != nil {
		t.Fatal(err)
	}
	// The folder is not in t.TempDir(), which the server's user may not be able to enter.
	folder, err := os.MkdirTemp("", "postgrestest")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, folder: folder, args: args, owner: owner}
	t.Cleanup(func() {
		s.shutDown()
		if err := os.RemoveAll(folder); err != nil {
			t.Errorf("delete the data of the server: %v", err)
		}
	})
	if err := errors.Join(owner.give(folder), s.initialise()); err != nil {
		t.Fatal(err)
	}
	processtest.OnFreePort(t, firstPort, ports, func(port int) error {
		s.port = port
		return s.run()
	})
	return s
}

func (s *Server) initialise() error {
	passwordFile := filepath.Join(s.folder, "password")
	if err := errors.Join(os.WriteFile(passwordFile, []byte(Password), 0o600), s.owner.give(passwordFile)); err != nil {
		return err
	}
	command, err := s.command("initdb", "--pgdata", s.data(), "--username", User, "--pwfile", passwordFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	if err != nil {
		return err
	}
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, said)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// command returns a command that runs as the server's user.
func (s *Server) command(name string, args ...string) (*exec.Cmd, error) {
	postgres, err := Find()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(context.Background(), filepath.Join(filepath.Dir(postgres), name), args...)
	command.Dir, command.SysProcAttr = s.folder, s.owner.attributes()
	return command, nil
}

// run starts a server process on the server's port, and waits until the process accepts
// connections.
func (s *Server) run() error {
	command, err := s.command("postgres", append([]string{
		"-D", s.data(), "-p", strconv.Itoa(s.port), "-h", "127.0.0.1", "-k", s.folder,
		"-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "logging_collector=off",
	}, s.args...)...)
	if err != nil {
		return err
	}
	s.process, err = processtest.StartServer(command, "database system is ready to accept connections", startLimit)
	return err
}

// Port returns the server's port, which stays the same after Restart.
func (s *Server) Port() int { return s.port }

// URL returns the address of a database of the server, without user and password.
func (s *Server) URL(database string) string {
	return (&url.URL{
		Scheme: "postgres", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}).String()
}

// Database creates an empty database, and returns its address, without user and password.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.made.Add(1))
	conn := s.Connect(t, s.URL(User))
	if _, err := conn.Exec(t.Context(), "CREATE DATABASE "+name+" STRATEGY file_copy"); err != nil {
		t.Fatal(err)
	}
	return s.URL(name)
}

// Connect connects to the database with the given address. The connection is closed at the end of
// the test.
func (s *Server) Connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password = User, Password
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Dump returns the output of pg_dump for the database with the given address.
func (s *Server) Dump(t testing.TB, address string) []byte {
	t.Helper()
	command, err := s.command("pg_dump", "--username", User, "--dbname", address)
	if err != nil {
		t.Fatal(err)
	}
	command.Env = append(os.Environ(), "PGPASSWORD="+Password)
	dump, err := command.Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	return dump
}
