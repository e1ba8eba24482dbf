package config

import (
	"crypto/tls"
	"slices"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// Redis says how to reach one Redis server, a master by its Sentinels, or a Cluster.
type Redis struct {
	// Addresses are HOST:PORT of the server, the Sentinels, or nodes of the Cluster. At
	// least one, none twice.
	Addresses []string
	// SentinelMaster is what Sentinels call the master; empty without Sentinels.
	SentinelMaster string
	Cluster        bool
	// Database is 0 to 1023, and 0 for a Cluster.
	Database int
	// Username is empty unless there is a Password; so with those for Sentinels.
	Username, Password                 secret.Text
	SentinelUsername, SentinelPassword secret.Text
	// TLS is nil for none. Servers are verified.
	TLS *tls.Config
}

// same reports whether both are the same Redis, reached in the same way.
func (r *Redis) same(other *Redis) bool {
	if r == nil || other == nil {
		return r == other
	}
	return slices.Equal(r.Addresses, other.Addresses) &&
		r.SentinelMaster == other.SentinelMaster &&
		r.Cluster == other.Cluster &&
		r.Database == other.Database &&
		r.Username.Equal(other.Username) &&
		r.Password.Equal(other.Password) &&
		r.SentinelUsername.Equal(other.SentinelUsername) &&
		r.SentinelPassword.Equal(other.SentinelPassword) &&
		sameTLS(r.TLS, other.TLS)
}

func parseRedis(value strictyaml.Value, reader sourceReader) *Redis {
	if !value.Exists() {
		return nil
	}
	redis := &Redis{
		SentinelMaster: value.Key("sentinel_master").Text(),
		Cluster:        value.Key("cluster").Bool(),
		TLS:            parseTLS(value.Key("tls"), reader),
	}
	redis.Username, _ = reader.readSecret(value.Key("username"))
	redis.Password, _ = reader.readSecret(value.Key("password"))
	redis.SentinelUsername, _ = reader.readSecret(value.Key("sentinel_username"))
	redis.SentinelPassword, _ = reader.readSecret(value.Key("sentinel_password"))
	database := value.Key("database")
	redis.Database, _ = database.Int()
	redis.Addresses = parseAddresses(value.Key("addresses"))
	if location := value.Key("url"); location.Exists() {
		database = location
		parseRedisURL(location, value.KeyNode("tls"), redis)
	}
	if redis.Cluster && redis.Database != 0 {
		database.Problemf("a Cluster has the database 0 alone")
	}
	checkRedisKeys(value)
	return redis
}

// checkRedisKeys reports keys that lack another, or cannot stand together.
func checkRedisKeys(redis strictyaml.Value) {
	has := func(name string) bool { return redis.Key(name).Exists() }
	if !has("url") && !has("addresses") {
		redis.Problemf("needs url or addresses")
	}
	for _, rule := range []struct {
		key     string
		broken  bool
		problem string
	}{
		{"addresses", has("url"), "cannot stand beside url"},
		{"database", has("url"), "cannot stand beside url, which ends with the database"},
		{"sentinel_master", has("url"), "needs the addresses of the Sentinels, in place of url"},
		{"cluster", has("sentinel_master") && redis.Key("cluster").Bool(), "cannot stand beside sentinel_master"},
		{"username", !has("password"), "needs password"},
		{"sentinel_username", !has("sentinel_password"), "needs sentinel_password"},
		{"sentinel_username", !has("sentinel_master"), "needs sentinel_master: only Sentinels are told"},
		{"sentinel_password", !has("sentinel_master"), "needs sentinel_master: only Sentinels are told"},
	} {
		if rule.broken && has(rule.key) {
			redis.KeyNode(rule.key).Problemf("%s", rule.problem)
		}
	}
}
