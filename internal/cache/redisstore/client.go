package redisstore

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/authmaterial/broker/internal/secret"
)

// Limits of a connection. A timeBudget sets the timeout of each operation, which is never longer.
const (
	idleTimeout = 5 * time.Minute
	// spareConnections are for what does not wait in a queue: the reader of the stream, and requests
	// for the map of a Cluster.
	spareConnections = 2
	// clusterReload is how old the map of a Cluster may be when it is used. After the loss of a
	// master the map is right again within this time.
	clusterReload = 200 * time.Millisecond
)

// Server is where Redis is: one server, the Sentinels of one, or a Cluster.
type Server struct {
	// Addresses are host:port: of the server, of its Sentinels, or of some nodes of the
	// Cluster. At least one.
	Addresses []string
	// SentinelMaster is the name of the master that the Sentinels watch; empty: Addresses are not
	// Sentinels.
	SentinelMaster string
	// Cluster reports that Addresses are nodes of a Cluster.
	Cluster bool
	// Database is the number of the database. A Cluster has only 0.
	Database int
	// Username and Password authenticate to Redis; empty: without authentication.
	Username, Password secret.Text
	// SentinelUsername and SentinelPassword authenticate to the Sentinels; empty: without
	// authentication.
	SentinelUsername, SentinelPassword secret.Text
	// TLS encrypts connections; nil: no encryption.
	TLS *tls.Config
}

// silence is a logger that writes nothing. Without it, go-redis writes to standard error.
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
		ContextTimeoutEnabled: true, // without it, operations on a stopped server outlive their contexts
		ConnMaxIdleTime:       idleTimeout,

		// Servers before version 7.2 do not have these.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if server.Cluster {
		cluster := options.Cluster()
		cluster.ClusterStateReloadInterval = clusterReload
		// Each command has a key, and goes to that key's node. With routing policies, go-redis would
		// first request a description of all commands, which takes longer than an operation may.
		cluster.DisableRoutingPolicies = true
		return redis.NewClusterClient(cluster)
	}
	return redis.NewUniversalClient(options)
}
