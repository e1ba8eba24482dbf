package redisstore

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/authmaterial/broker/internal/secret"
)

// Limits of a connection. patience.go sets the timeout of each operation, which is never longer.
const (
	idleTimeout = 5 * time.Minute
	// spareConnections are for what does not queue: what reads the stream, and what loads
	// the map of a Cluster.
	spareConnections = 2
	// clusterReload is how old the map of a Cluster may be. It is loaded again when it is
	// used, so a Cluster that lost a master is found within this time.
	clusterReload = 200 * time.Millisecond
)

// Server says where Redis is: one server, the Sentinels of one, or a Cluster.
type Server struct {
	// Addresses are host:port: of the server, of its Sentinels, or of some nodes of the
	// Cluster. At least one.
	Addresses []string
	// SentinelMaster is the name of the master that the Sentinels watch; empty: Addresses
	// are no Sentinels.
	SentinelMaster string
	// Cluster says that Addresses are nodes of a Cluster.
	Cluster bool
	// Database is the number of the database. A Cluster has only 0.
	Database int
	// Username and Password authenticate to Redis; empty: not at all.
	Username, Password secret.Text
	// SentinelUsername and SentinelPassword authenticate to the Sentinels.
	SentinelUsername, SentinelPassword secret.Text
	// TLS encrypts; nil: not at all.
	TLS *tls.Config
}

// silence is a logger that says nothing: go-redis writes to standard error by itself.
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
		DialTimeout:           flightTimeout,
		ReadTimeout:           flightTimeout,
		WriteTimeout:          flightTimeout,
		PoolTimeout:           flightTimeout,
		PoolSize:              atOnce() + spareConnections,
		ContextTimeoutEnabled: true, // without it a stopped server is waited for in spite of the context
		ConnMaxIdleTime:       idleTimeout,

		// Servers before version 7.2 do not know these.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if server.Cluster {
		cluster := options.Cluster()
		cluster.ClusterStateReloadInterval = clusterReload
		// Each command has a key, and goes where that is. To look for another way, go-redis
		// would ask nodes for all they know of commands, for longer than an operation has.
		cluster.DisableRoutingPolicies = true
		return redis.NewClusterClient(cluster)
	}
	return redis.NewUniversalClient(options)
}
