package redistest

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

const masters = 3

// firstSlot contains the first hash slot of each master, and then the total number of slots.
var firstSlot = [masters + 1]int{0, 5461, 10922, 16384}

// tags contains, for each master, a hash tag whose slot belongs to that master.
var tags = [masters]string{"b", "c", "a"}

// Cluster is a Redis Cluster of three masters with one replica each. A Cluster is not safe for
// concurrent use.
type Cluster struct {
	t     testing.TB
	nodes []*Server
}

// StartCluster starts six nodes, and returns when all nodes agree on the slots and each master has
// its replica. When a master fails, its replica replaces it within seconds.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for range 2 * masters {
		c.nodes = append(c.nodes, Start(t,
			"--cluster-enabled", "yes", "--cluster-node-timeout", "500",
			"--cluster-replica-validity-factor", "0", "--cluster-allow-replica-migration", "no"))
	}
	for i, node := range c.nodes {
		c.must(node.client.Do(t.Context(), "CLUSTER", "SET-CONFIG-EPOCH", i+1))
		c.must(node.client.ClusterMeet(t.Context(), "127.0.0.1", strconv.Itoa(c.nodes[0].port)))
		if i < masters {
			c.must(node.client.ClusterAddSlotsRange(t.Context(), firstSlot[i], firstSlot[i+1]-1))
		}
	}
	for i, replica := range c.nodes[masters:] {
		id := c.nodes[i].client.ClusterMyID(t.Context())
		c.must(id)
		await(t, func() error { return replica.client.ClusterReplicate(t.Context(), id.Val()).Err() })
	}
	c.AwaitReplicas()
	return c
}

func (c *Cluster) must(command redis.Cmder) {
	c.t.Helper()
	if err := command.Err(); err != nil {
		c.t.Fatal(err)
	}
}

// Addrs returns the addresses of all nodes.
func (c *Cluster) Addrs() []string { return addresses(c.nodes) }

// AwaitMasters waits until all running nodes name the same masters, and these masters accept
// writes. AwaitMasters returns the masters in the order of their slots.
func (c *Cluster) AwaitMasters() []*Server {
	c.t.Helper()
	var all []*Server
	await(c.t, func() (err error) {
		all, err = c.masters()
		return err
	})
	return all
}

// AwaitReplicas waits until each master has a Redis replica with all of the master's data. A killed
// node becomes a Redis replica within seconds of its restart.
func (c *Cluster) AwaitReplicas() {
	c.t.Helper()
	await(c.t, func() error {
		all, err := c.masters()
		if err != nil {
			return err
		}
		for _, master := range all {
			if err := master.hasReplicas(c.nodes, 1); err != nil {
				return err
			}
		}
		return nil
	})
}

// MasterOf waits as AwaitMasters does, and returns the master that stores the given key.
func (c *Cluster) MasterOf(key string) *Server {
	c.t.Helper()
	all := c.AwaitMasters()
	slot := all[0].client.ClusterKeySlot(c.t.Context(), key)
	c.must(slot)
	for i, master := range all {
		if int(slot.Val()) < firstSlot[i+1] {
			return master
		}
	}
	c.t.Fatalf("no master has the key's slot %d", slot.Val())
	return nil
}

func (c *Cluster) masters() ([]*Server, error) {
	var owners []string // addresses of the masters, in the order of their slots
	for _, node := range running(c.nodes) {
		view, err := node.owners()
		if err != nil {
			return nil, err
		}
		if owners != nil && !slices.Equal(view, owners) {
			return nil, fmt.Errorf("the nodes do not agree on the masters: %q and %q", owners, view)
		}
		owners = view
	}
	var all []*Server
	for i, owner := range owners {
		master, err := find(c.nodes, owner)
		if err == nil {
			err = master.takesWrite(tags[i])
		}
		if err != nil {
			return nil, err
		}
		all = append(all, master)
	}
	return all, nil
}

// owners asks one node for the addresses of the masters, and returns them in the order of their
// slots.
func (s *Server) owners() ([]string, error) {
	shards, err := s.client.ClusterShards(s.t.Context()).Result()
	if err != nil {
		return nil, err
	}
	owners := make([]string, masters)
	for _, shard := range shards {
		for _, slots := range shard.Slots {
			if i := slices.Index(firstSlot[:masters], int(slots.Start)); i >= 0 {
				owners[i] = owner(shard.Nodes)
			}
		}
	}
	return owners, nil
}

// owner returns the address of a shard's master. The list of nodes may also contain an earlier
// master, which failed and was replaced.
func owner(nodes []redis.Node) (address string) {
	for _, node := range nodes {
		if node.Role == "master" && (address == "" || node.Health == "online") {
			address = net.JoinHostPort(node.IP, strconv.FormatInt(node.Port, 10))
		}
	}
	return address
}
