package redisstore_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// No goroutines are left after Close of Stores on working and on failing servers. The test does not
// run in parallel with other tests, because those start goroutines of the same kinds.
func TestCloseEndsEverything(t *testing.T) {
	well, gone, hung := redistest.Start(t), redistest.Start(t), redistest.Start(t)
	gone.Kill()
	hung.Stop()
	cluster, sentinels := redistest.StartCluster(t), redistest.StartSentinel(t)
	for name, server := range map[string]redisstore.Server{
		"well":      at(well.Addr()),
		"gone":      at(gone.Addr()),
		"hung":      at(hung.Addr()),
		"Cluster":   {Addresses: cluster.Addrs(), Cluster: true},
		"Sentinels": {Addresses: sentinels.Addrs(), SentinelMaster: redistest.MasterName},
	} {
		t.Run(name, func(t *testing.T) {
			before := ofRedis()
			seen := &observed{}
			store := redisstore.New(redisstore.Options{
				Server: server, Keys: fleetkeys.RandomRing(), Logger: slog.New(slog.DiscardHandler), Observer: seen,
			})
			ctx, stop := context.WithCancel(t.Context())
			followed := make(chan struct{})
			go func() {
				defer close(followed)
				store.Follow(ctx, cache.News{Changed: func(string) {}, Forgotten: func() {}, Missed: func() {}})
			}()
			for i := range 20 {
				_, lease, err := store.Lock(ctx, fmt.Sprint(i), never)
				if err != nil {
					continue
				}
				wantCommit(t, lease, newToken("first"), false, "first")
				lease.Release()
			}
			eventually(t, "it follows, or tries to", func() bool { return seen.count("read")+seen.count("probe") > 10 })
			stop()
			store.Close()
			<-followed
			eventually(t, "all that it began has ended", func() bool { return len(ofRedis()) <= len(before) })
			if left := ofRedis(); len(left) > len(before) {
				t.Errorf("after Close, %d goroutines are left:\n%s", len(left)-len(before), strings.Join(left, "\n\n"))
			}
		})
	}
}

// ofRedis returns the goroutines that belong to a Store or to its client.
func ofRedis() (found []string) {
	stacks := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(stack, "go-redis") || strings.Contains(stack, "redisstore.(") {
			found = append(found, stack)
		}
	}
	return found
}

// Each Store is closed while Follow starts.
func TestCloseBesideFollow(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	for range 200 {
		store := redisstore.New(redisstore.Options{Server: at(server.Addr()), Keys: keys, Logger: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		followed := make(chan struct{})
		go func() {
			defer close(followed)
			store.Follow(ctx, cache.News{Changed: func(string) {}, Forgotten: func() {}, Missed: func() {}})
		}()
		stop()
		store.Close()
		<-followed
	}
}
