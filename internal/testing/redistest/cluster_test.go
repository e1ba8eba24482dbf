package redistest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/testing/redistest"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	if n := len(c.Addrs()); n != 6 {
		t.Errorf("the Cluster has %d nodes, want 6", n)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.Addrs(), ClusterStateReloadInterval: 100 * time.Millisecond, MaxRedirects: 100,
	})
	t.Cleanup(func() { _ = client.Close() })
	// The hash slots of the keys "a", "b" and "c" belong to different masters.
	for _, key := range []string{"a", "b", "c"} {
		set(t, client, key)
		if got := get(t, c.MasterOf(key).Client(), key); got != "value" {
			t.Errorf("the master of %s has the value %q, want %q", key, got, "value")
		}
	}
	before := c.AwaitMasters()
	c.AwaitReplicas()

	lost := c.MasterOf("a")
	lost.Kill()
	after := c.AwaitMasters()
	if slices.Contains(after, lost) {
		t.Fatal("the killed node is still a master")
	}
	if at := slices.Index(before, lost); !slices.Equal(slices.Delete(before, at, at+1), slices.Delete(slices.Clone(after), at, at+1)) {
		t.Error("a master changed although it was not killed")
	}
	if got := get(t, c.MasterOf("a").Client(), "a"); got != "value" {
		t.Errorf("the new master has the value %q, want %q", got, "value")
	}
	for _, key := range []string{"a", "b", "c"} {
		set(t, client, key)
	}

	lost.Restart()
	c.AwaitReplicas()
	if role, err := lost.Client().Do(t.Context(), "ROLE").Slice(); err != nil || role[0] != "slave" {
		t.Errorf("the restarted node has the role %v (error %v), want the role of a replica", role, err)
	}
	if got := c.AwaitMasters(); !slices.Equal(got, after) {
		t.Error("the masters changed when the killed node was restarted")
	}

	stopped := c.MasterOf("b")
	stopped.Stop()
	if slices.Contains(c.AwaitMasters(), stopped) {
		t.Error("the suspended node is still a master")
	}
	stopped.Restart()
	c.AwaitReplicas()
	if slices.Contains(c.AwaitMasters(), stopped) {
		t.Error("the suspended node is a master again after it was resumed")
	}
}
