package redistest

import (
	"fmt"
	"testing"
	"time"
)

// awaitLimit bounds the wait for a group of servers to become what is asked for.
const awaitLimit = 30 * time.Second

// await returns once the condition has no error. It ends the test with the last one after
// awaitLimit.
func await(t testing.TB, condition func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(awaitLimit)
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v: %v", awaitLimit, err)
		}
	}
}

// addresses returns the address of each server.
func addresses(servers []*Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Addr())
	}
	return all
}

// running returns the servers that are neither killed nor stopped.
func running(servers []*Server) []*Server {
	var all []*Server
	for _, s := range servers {
		select {
		case <-s.process.ended:
		default:
			if !s.stopped {
				all = append(all, s)
			}
		}
	}
	return all
}

// find returns the running server that has the address.
func find(servers []*Server, address string) (*Server, error) {
	for _, s := range running(servers) {
		if s.Addr() == address {
			return s, nil
		}
	}
	return nil, fmt.Errorf("the master that is named does not run: %q", address)
}

// takesWrite returns an error when the server refuses to change the key, which should
// not exist.
func (s *Server) takesWrite(key string) error {
	return s.client.Del(s.t.Context(), "{"+key+"}:redistest").Err()
}

// hasReplicas returns an error unless so many replicas have all that the server has.
func (s *Server) hasReplicas(want int) error {
	connection := s.client.Conn()
	defer func() { _ = connection.Close() }()
	// WAIT is about what was there at the command before it.
	if err := connection.Ping(s.t.Context()).Err(); err != nil {
		return err
	}
	replicas, err := connection.Wait(s.t.Context(), want, time.Second).Result()
	if err != nil {
		return err
	}
	if int(replicas) < want {
		return fmt.Errorf("%d replicas of %s have all that it has, want %d", replicas, s.Addr(), want)
	}
	return nil
}
