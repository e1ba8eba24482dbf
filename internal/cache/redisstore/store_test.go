package redisstore_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/testing/cachetest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	conform(t, at(server.Addr()), server.Client())
}

func TestStoreWithUser(t *testing.T) {
	t.Parallel()
	rules, _, _, _ := documentedRules(t)
	server := redistest.Start(t, append([]string{"--requirepass", "other", "--user", aclUser}, strings.Fields(rules)...)...)
	conform(t, guardedServer(server.Addr()), server.Client())
}

func TestStoreWithPassword(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", "swordfish")
	as := at(server.Addr())
	as.Password = secret.New("swordfish")
	conform(t, as, server.Client())
}

func TestStoreOverTLS(t *testing.T) {
	t.Parallel()
	server := redistest.StartTLS(t)
	over := at(server.Addr())
	over.TLS = trusting(t, server.CAFile())
	conform(t, over, server.Client())
}

func TestStoreOnSentinel(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t)
	conform(t, redisstore.Server{Addresses: group.Addrs(), SentinelMaster: redistest.MasterName}, group.AwaitMaster().Client())
}

func TestStoreOnCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	var clients []*redis.Client
	for _, master := range cluster.AwaitMasters() {
		clients = append(clients, master.Client())
	}
	conform(t, redisstore.Server{Addresses: cluster.Addrs(), Cluster: true}, clients...)
}

// conform runs the test suite of package cachetest on the given Redis server or Cluster.
func conform(t *testing.T, server redisstore.Server, clients ...*redis.Client) {
	t.Helper()
	cachetest.TestStore(t, func(t *testing.T) cachetest.Harness {
		clock := &aheadClock{Clock: clockwork.NewRealClock()}
		return cachetest.Harness{
			Store: openAt(t, server, fleetkeys.RandomRing(), withClock(clock)), // each test uses its own Redis keys
			Clock: clock,
			Advance: func(d time.Duration) {
				clock.ahead.Add(int64(d))
				for _, client := range clients {
					age(t, client, d)
				}
			},
		}
	})
}

func trusting(t *testing.T, file string) *tls.Config {
	t.Helper()
	authority, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}
