package redisstore

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/authmaterial/broker/internal/secret"
)

// These constants configure connections. The timeout of each operation is set by its timeBudget.
const (
	idleTimeout = 5 * time.Minute
	// spareConnections is the number of connections for requests that do not wait in a queue: reads
	// of the stream, and requests for the slot map of a Cluster.
	spareConnections = 2
	// clusterReload is the maximum age of a Cluster's slot map. After the loss of a master, the
	// slot map is correct again after clusterReload at the latest.
	clusterReload = 200 * time.Millisecond
)

// Server describes how to reach Redis: one server, the Sentinels of one server, or a Cluster.
type Server struct {
	// Addresses contains one or more addresses of the form host:port: of the server, of its
	// Sentinels, or of some nodes of the Cluster.
	Addresses []string
	// SentinelMaster is the name of the master that the Sentinels watch, or empty if the Addresses
	// do not belong to Sentinels.
	SentinelMaster string
	// Cluster reports that the Addresses belong to nodes of a Cluster.
	Cluster bool
	// Database is the number of the Redis database. A Cluster has only database 0.
	Database int
	// Username and Password authenticate the broker to Redis. If both are empty, the broker does
	// not authenticate to Redis.
	Username, Password secret.Text
	// SentinelUsername and SentinelPassword authenticate the broker to the Sentinels. If both are
	// empty, the broker does not authenticate to the Sentinels.
	SentinelUsername, SentinelPassword secret.Text
	// TLS is the configuration for encrypted connections. If TLS is nil, connections are not
	// encrypted.
	TLS *tls.Config
}

// silence is a logger that writes nothing. Without this logger, go-redis would write to the
// standard error.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func newClient(server Server) redis.UniversalClient {
	redis.SetLogger(silence{})
	options := &redis.UniversalOptions{
		Addrs:            server.Addresses,
		MasterName:       server.SentinelMaster,
		IsClusterMode:    server.Cluster,
		DB:               server.Database,
		Username:         server.Username.Reveal(),
		Password:         server.Password.Reveal(),
		SentinelUsername: server.SentinelUsername.Reveal(),
		SentinelPassword: server.SentinelPassword.Reveal(),
		Dialer:           dialer(server.TLS),

		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           refreshTimeout,
		ReadTimeout:           refreshTimeout,
		WriteTimeout:          refreshTimeout,
		PoolTimeout:           refreshTimeout,
		PoolSize:              maxOperations() + spareConnections,
		ContextTimeoutEnabled: true, // without this setting, operations on a stopped server outlive their contexts
		ConnMaxIdleTime:       idleTimeout,

		// These two settings switch off commands that Redis servers before version 7.2 do not
		// support.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if server.Cluster {
		cluster := options.Cluster()
		cluster.ClusterStateReloadInterval = clusterReload
		// Without routing policies, go-redis sends each Redis command to the node that has the
		// command's key, which suffices for the broker. With routing policies, go-redis would first
		// request a description of all Redis commands, which takes longer than the time limit of an
		// operation.
		cluster.DisableRoutingPolicies = true
		return redis.NewClusterClient(cluster)
	}
	return redis.NewUniversalClient(options)
}
