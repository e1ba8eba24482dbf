package redistest_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/testing/redistest"
)

func TestSentinel(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: redistest.MasterName, SentinelAddrs: s.Addrs()})
	t.Cleanup(func() { _ = client.Close() })
	set(t, client, "key")
	s.AwaitReplicas()

	first := s.KillMaster()
	if accepts(t, first.Addr()) {
		t.Error("the killed master accepts connections")
	}
	second := s.AwaitMaster()
	if second == first {
		t.Fatal("the Sentinels still name the killed server as the master")
	}
	if got := get(t, second.Client(), "key"); got != "value" {
		t.Errorf("the new master has the value %q, want %q", got, "value")
	}
	set(t, client, "another key")
	if got := get(t, second.Client(), "another key"); got != "value" {
		t.Errorf("the new master has the value %q, want %q, which a client wrote after the failover", got, "value")
	}

	first.Restart()
	s.AwaitReplicas()
	if got := get(t, first.Client(), "another key"); got != "value" {
		t.Errorf("the old master, now a replica, has the value %q, want %q", got, "value")
	}
	if s.AwaitMaster() != second {
		t.Error("the master changed again although no server had failed")
	}
}
