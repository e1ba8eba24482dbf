package redistest

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

const awaitLimit = 30 * time.Second

// await waits until the condition returns nil. After awaitLimit the test fails with the condition's
// last error.
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

func addresses(servers []*Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Addr())
	}
	return all
}

// running returns the given servers without those that are killed or suspended.
func running(servers []*Server) []*Server {
	var all []*Server
	for _, s := range servers {
		if s.Runs() {
			all = append(all, s)
		}
	}
	return all
}

func find(servers []*Server, address string) (*Server, error) {
	for _, s := range running(servers) {
		if s.Addr() == address {
			return s, nil
		}
	}
	return nil, fmt.Errorf("the master at %q is not running", address)
}

// takesWrite returns an error if the server refuses to write the given key, which should not exist
// yet.
func (s *Server) takesWrite(key string) error {
	return s.client.Del(s.t.Context(), "{"+key+"}:redistest").Err()
}

// hasReplicas returns nil if this server has the wanted number of running replicas that have
// received all its changes.
func (s *Server) hasReplicas(servers []*Server, want int) error {
	_, offset, err := s.replication()
	if err != nil {
		return err
	}
	have := 0
	for _, server := range running(servers) {
		master, replicated, err := server.replication()
		if err != nil {
			return err
		}
		if master == s.port && replicated >= offset {
			have++
		}
	}
	if have < want {
		return fmt.Errorf("%d Redis replicas have received all changes of the master %s, want %d", have, s.Addr(), want)
	}
	return nil
}

// replication returns the port of the server's master, and the server's replication offset. The
// port is 0 if there is no master, or no connection to it.
func (s *Server) replication() (master int, offset int64, err error) {
	info, err := s.client.InfoMap(s.t.Context(), "replication").Result()
	if err != nil {
		return 0, 0, err
	}
	replication := info["Replication"]
	if replication["role"] == "master" {
		offset, err = strconv.ParseInt(replication["master_repl_offset"], 10, 64)
		return 0, offset, err
	}
	if replication["master_link_status"] == "up" {
		if master, err = strconv.Atoi(replication["master_port"]); err != nil {
			return 0, 0, err
		}
	}
	offset, err = strconv.ParseInt(replication["slave_repl_offset"], 10, 64)
	return master, offset, err
}
