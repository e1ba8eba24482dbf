package redistest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// MasterName is the name of the master in the configuration of the Sentinels.
const MasterName = "redistest"

// Sentinel is a group of Redis processes: a master, two replicas, and three Sentinels that watch
// them. A Sentinel is not safe for concurrent use.
type Sentinel struct {
	t         testing.TB
	servers   []*Server
	sentinels []*Server
}

// StartSentinel starts six processes, and returns when each Sentinel knows the other Sentinels and
// both replicas. When the master fails, a replica replaces it within seconds.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	master := Start(t)
	s := &Sentinel{t: t, servers: []*Server{master}}
	for range 2 {
		s.servers = append(s.servers, Start(t, "--replicaof", "127.0.0.1", strconv.Itoa(master.port)))
	}
	// A Sentinel asks the master for its replicas when the Sentinel starts, and then every 10 s.
	await(t, func() error { return master.hasReplicas(s.servers, 2) })
	for range 3 {
		s.sentinels = append(s.sentinels, startSentinel(t, master.port))
	}
	for _, sentinel := range s.sentinels {
		await(t, sentinel.knowsAll)
	}
	return s
}

func startSentinel(t testing.TB, master int) *Server {
	t.Helper()
	path, file := executable(t), filepath.Join(t.TempDir(), "sentinel.conf")
	config := fmt.Sprintf(`sentinel monitor %[1]s 127.0.0.1 %[2]d 2
sentinel down-after-milliseconds %[1]s 700
sentinel failover-timeout %[1]s 2000
`, MasterName, master)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Server{
		t: t,
		command: func(port int) *exec.Cmd {
			return exec.CommandContext(context.Background(), path, file, "--sentinel",
				"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", filepath.Dir(file),
				"--user", admin, "on", "nopass", "~*", "&*", "+@all")
		},
		ready: "+monitor ",
	}
	s.start()
	// A Sentinel reconnects to a server once per ping period. The default ping period of 1 s is
	// longer than the time after which these tests consider a server lost. Five ping periods must
	// be longer than one second, because a Sentinel asks a replica for its state again after a
	// second; with shorter ping periods the Sentinel finds no replica to promote. A Sentinel
	// exchanges its knowledge with the other Sentinels once per publish period (default 2 s). A
	// Sentinel asks a master for its role once per info period (default 10 s).
	periods := []any{"SENTINEL", "DEBUG", "PING-PERIOD", 300, "PUBLISH-PERIOD", 200, "INFO-PERIOD", 1000}
	if err := s.client.Do(t.Context(), periods...).Err(); err != nil {
		t.Fatalf("package redistest needs Redis 7.0 or later for Sentinels: %v", err)
	}
	return s
}

// Addrs returns the addresses of the Sentinels.
func (s *Sentinel) Addrs() []string { return addresses(s.sentinels) }

// AwaitMaster waits until all running Sentinels name the same master, and this master accepts
// writes. AwaitMaster returns this master.
func (s *Sentinel) AwaitMaster() *Server {
	s.t.Helper()
	var master *Server
	await(s.t, func() (err error) {
		master, err = s.master()
		return err
	})
	return master
}

// AwaitReplicas waits until the master has two Redis replicas with all of its data. A killed server
// becomes a Redis replica within seconds of its restart.
func (s *Sentinel) AwaitReplicas() {
	s.t.Helper()
	await(s.t, func() error {
		master, err := s.master()
		if err != nil {
			return err
		}
		return master.hasReplicas(s.servers, 2)
	})
}

// KillMaster waits as AwaitMaster does, kills the master and returns it.
func (s *Sentinel) KillMaster() *Server {
	s.t.Helper()
	master := s.AwaitMaster()
	master.Kill()
	return master
}

func (s *Sentinel) master() (*Server, error) {
	var named string
	for _, sentinel := range running(s.sentinels) {
		answer, err := sentinel.client.Do(s.t.Context(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName).StringSlice()
		if err != nil {
			return nil, err
		}
		address := strings.Join(answer, ":")
		if named != "" && named != address {
			return nil, fmt.Errorf("the Sentinels name different masters, %s and %s", named, address)
		}
		named = address
	}
	master, err := find(s.servers, named)
	if err != nil {
		return nil, err
	}
	return master, master.takesWrite("probe")
}

func (s *Server) knowsAll() error {
	master := redis.NewMapStringStringCmd(s.t.Context(), "SENTINEL", "MASTER", MasterName)
	if err := s.client.Process(s.t.Context(), master); err != nil {
		return err
	}
	sentinels, replicas := master.Val()["num-other-sentinels"], master.Val()["num-slaves"]
	if sentinels != "2" || replicas != "2" {
		return fmt.Errorf("the Sentinel at %s knows %s other Sentinels and %s replicas", s.Addr(), sentinels, replicas)
	}
	return nil
}
