package redisstore

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/authmaterial/broker/internal/secret"
)

// Time limits of a connection. The timeout of an operation, which a timeBudget sets, is never
// longer than these limits.
const (
	idleTimeout = 5 * time.Minute
	// spareConnections are connections for requests that do not wait in a queue: reads of the
	// stream, and requests for the slot map of a Cluster.
	spareConnections = 2
	// clusterReload is the greatest age of the slot map of a Cluster that is still used. After
	// the loss of a master, the slot map is correct again within this time.
	clusterReload = 200 * time.Millisecond
)

// Server is the address of Redis: one server, the Sentinels of one server, or a Cluster.
type Server struct {
	// Addresses lists at least one host:port: the address of the server, of its Sentinels, or of
	// some nodes of the Cluster.
	Addresses []string
	// SentinelMaster is the name of the master that the Sentinels watch; empty: Addresses are not
	// Sentinels.
	SentinelMaster string
	// Cluster reports that Addresses are nodes of a Cluster.
	Cluster bool
	// Database is the number of the Redis database. A Cluster has only database 0.
	Database int
	// Username and Password authenticate to Redis; empty: without authentication.
	Username, Password secret.Text
	// SentinelUsername and SentinelPassword authenticate to the Sentinels; empty: without
	// authentication.
	SentinelUsername, SentinelPassword secret.Text
	// TLS encrypts connections; nil: no encryption.
	TLS *tls.Config
}

// silence is a logger that writes nothing. Without this logger, go-redis writes to standard
// error.
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
		ContextTimeoutEnabled: true, // otherwise operations on a stopped server outlive their contexts
		ConnMaxIdleTime:       idleTimeout,

		// Redis servers before version 7.2 do not support these commands.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if server.Cluster {
		cluster := options.Cluster()
		cluster.ClusterStateReloadInterval = clusterReload
		// Each command has a key, and is sent to the node of that key. With routing policies,
		// go-redis would first request a description of all commands, which takes longer than
		// the time limit of an operation.
		cluster.DisableRoutingPolicies = true
		return redis.NewClusterClient(cluster)
	}
	return redis.NewUniversalClient(options)
}
