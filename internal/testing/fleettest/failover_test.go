package fleettest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// failover is a fleet with traffic whose Redis, a Cluster or a server with Sentinels, loses a
// master.
type failover struct {
	*testing.T
	fleet  *fleettest.Fleet
	load   *fleettest.Load
	watch  func() (asked int, err error)
	before map[string]int // number of token requests of each credential before the loss of the master
}

func newFailover(t *testing.T, redis map[string]any) *failover {
	t.Helper()
	fleet := fleettest.Start(t, fleettest.Options{Redis: redis})
	warm(t, fleet)
	f := &failover{T: t, fleet: fleet, load: fleet.StartLoad(fleettest.LoadOptions{}), watch: fleet.WatchReadiness(), before: map[string]int{}}
	for _, c := range fleet.Credentials {
		f.before[c.ID] = fleet.Provider.TokenRequests(c.Client.ID)
	}
	return f
}

// `recovered` checks how many token requests the loss of the master caused, and how long the fleet
// took to recover. `master` is the time from the loss until a new master accepted writes.
func (f *failover) recovered(master time.Duration) {
	f.Helper()
	back := f.fleet.AwaitDegraded(false)
	agreed := f.fleet.AwaitSameTokens()
	total, most := f.sinceBefore()
	f.Logf("there was a new master after %v; %v later no broker was degraded, and %v later all had the same tokens; %d extra token requests, at most %d for one credential",
		master.Round(time.Millisecond), back.Round(time.Millisecond), agreed.Round(time.Millisecond), total, most)
	if most > 1 {
		f.Errorf("the loss of a master caused %d token requests for one credential, want 1 at most", most)
	}
	if back+agreed > recoveryLimit {
		f.Errorf("the fleet recovered %v after the new master accepted writes, want %v at most", back+agreed, recoveryLimit)
	}
	wantOneRenewal(f.T, f.fleet)
	asked, err := f.watch()
	f.load.Stop()
	f.Logf("%v; %d times ready and healthy", f.load, asked)
	if err := errors.Join(err, f.load.Err()); err != nil {
		f.Error(err)
	}
}

// sinceBefore returns the total number of token requests since the loss of the master, and the
// highest number for one credential.
func (f *failover) sinceBefore() (total, most int) {
	for _, c := range f.fleet.Credentials {
		extra := f.fleet.Provider.TokenRequests(c.Client.ID) - f.before[c.ID]
		total, most = total+extra, max(most, extra)
	}
	return total, most
}

func (f *failover) awaitLoss() {
	f.Helper()
	f.fleet.Await("every broker has lost Redis", func() error {
		for _, b := range f.fleet.Brokers {
			if b.LogLines(lostLine) == 0 {
				return fmt.Errorf("%s has not", b.Name)
			}
		}
		return nil
	})
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	redis := redistest.StartSentinel(t)
	f := newFailover(t, map[string]any{"addresses": redis.Addrs(), "sentinel_master": redistest.MasterName})
	redis.AwaitReplicas()
	began := time.Now()
	lost := redis.KillMaster()
	f.awaitLoss()
	if redis.AwaitMaster() == lost {
		t.Fatal("the server that was killed is still the master")
	}
	f.recovered(time.Since(began))
}

// TestClusterFailover kills the master that stores the stream of changes.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	redis := redistest.StartCluster(t)
	f := newFailover(t, map[string]any{"addresses": redis.Addrs(), "cluster": true})
	redis.AwaitReplicas()
	lost := redis.MasterOf("authmaterial:1:changes")
	began := time.Now()
	lost.Kill()
	f.awaitLoss()
	if slices.Contains(redis.AwaitMasters(), lost) {
		t.Fatal("the server that was killed is still a master")
	}
	f.recovered(time.Since(began))
}
