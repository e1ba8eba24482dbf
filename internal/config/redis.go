package config

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// Redis configures the connection to a Redis server, to a master that Sentinels know, or to a
// Cluster.
type Redis struct {
	// Addresses are the addresses of the server, of the Sentinels, or of nodes of the Cluster, in
	// the form HOST:PORT. Addresses has at least one entry and no duplicates.
	Addresses []string
	// SentinelMaster is the name by which the Sentinels know the master, or empty without
	// Sentinels.
	SentinelMaster string
	Cluster        bool
	// Database is a number from 0 to 1023, and 0 for a Cluster.
	Database int
	// Username is empty if Password is empty, and SentinelUsername is empty if SentinelPassword is
	// empty.
	Username, Password                 secret.Text
	SentinelUsername, SentinelPassword secret.Text
	// TLS is the configuration of TLS, which always verifies the servers' certificates, or nil for
	// connections without TLS.
	TLS *tls.Config
}

func (r *Redis) same(other *Redis) bool {
	if r == nil || other == nil {
		return r == other
	}
	return slices.Equal(r.Addresses, other.Addresses) && r.SentinelMaster == other.SentinelMaster &&
		r.Cluster == other.Cluster && r.Database == other.Database &&
		r.Username.Equal(other.Username) && r.Password.Equal(other.Password) &&
		r.SentinelUsername.Equal(other.SentinelUsername) && r.SentinelPassword.Equal(other.SentinelPassword) &&
		sameTLS(r.TLS, other.TLS)
}

const maxDatabase = 1023

func (p *parser) readRedis(section yamlfile.Value) *Redis {
	if !section.Exists() {
		return nil
	}
	section.Mapping("url", "addresses", "sentinel_master", "cluster", "database", "username", "password",
		"sentinel_username", "sentinel_password", "tls")
	redis := &Redis{
		Addresses:      readAddresses(section.Get("addresses")),
		SentinelMaster: section.Get("sentinel_master").Text(256),
		Cluster:        section.Get("cluster").Bool(false),
		Database:       section.Get("database").Int(0, maxDatabase, 0),
		TLS:            p.readRedisTLS(section.Get("tls")),
	}
	redis.Username, _ = p.readSecret(section.Get("username"))
	redis.Password, _ = p.readSecret(section.Get("password"))
	redis.SentinelUsername, _ = p.readSecret(section.Get("sentinel_username"))
	redis.SentinelPassword, _ = p.readSecret(section.Get("sentinel_password"))
	database := section.Get("database")
	if location := section.Get("url"); location.Exists() {
		redis.setURL(location, section.Get("tls"))
		database = location
	}
	if redis.Cluster && redis.Database != 0 {
		database.Problemf("a Cluster has only the database 0")
	}
	checkRedisKeys(section)
	return redis
}

func checkRedisKeys(section yamlfile.Value) {
	if !section.Get("url").Exists() && !section.Get("addresses").Exists() {
		section.Problemf("needs url or addresses")
	}
	section.Excludes("addresses", "url")
	section.Excludes("database", "url")
	section.Needs("sentinel_master", "addresses")
	if section.Get("cluster").Bool(false) {
		section.Excludes("cluster", "sentinel_master")
	}
	section.Needs("username", "password")
	section.Needs("sentinel_username", "sentinel_password")
	section.Needs("sentinel_username", "sentinel_master")
	section.Needs("sentinel_password", "sentinel_master")
}

func (r *Redis) setURL(value, tlsSection yamlfile.Value) {
	text := value.Text(yamlfile.MaxText)
	if text == "" {
		return
	}
	if strings.Contains(text, "@") {
		value.Problemf("a user or a password is not allowed in the URL: use username and password")
		return
	}
	location, err := url.Parse(text)
	if err != nil {
		location = &url.URL{}
	}
	address := net.JoinHostPort(location.Hostname(), cmp.Or(location.Port(), "6379"))
	if !isAddress(address) || location.Scheme != "redis" && location.Scheme != "rediss" || strings.ContainsAny(text, "?#") {
		value.Problemf("must be redis://HOST:PORT/DATABASE, or rediss:// for TLS; port and database can be left out")
		return
	}
	r.Addresses = []string{address}
	if name := strings.TrimPrefix(location.Path, "/"); name != "" {
		number, err := strconv.ParseUint(name, 10, 16)
		if err != nil || number > maxDatabase {
			value.Problemf("the database must be a number from 0 to %d", maxDatabase)
		}
		r.Database = int(number)
	}
	switch {
	case location.Scheme == "rediss" && r.TLS == nil:
		r.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	case location.Scheme == "redis" && r.TLS != nil:
		tlsSection.Key().Problemf("needs rediss:// in the URL")
	}
}

// readRedisTLS returns nil if the section is missing. No setting disables the verification of the
// servers' certificates.
func (p *parser) readRedisTLS(section yamlfile.Value) *tls.Config {
	if !section.Exists() {
		return nil
	}
	section.Mapping("ca_file", "certificate_file", "key_file", "server_name")
	name := section.Get("server_name").Text(yamlfile.MaxText)
	if name != "" && !isHost(name) {
		section.Get("server_name").Problemf("must be a host name or an IP address, without a port")
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      p.readPool(section.Get("ca_file")),
		Certificates: p.readKeyPair(section),
		ServerName:   name,
	}
}

func readAddresses(list yamlfile.Value) []string {
	var addresses []string
	unique := yamlfile.Unique{}
	for _, item := range list.List(1, 100) {
		address := item.Text(yamlfile.MaxText)
		if address != "" && !isAddress(address) {
			item.Problemf("must be HOST:PORT, such as 10.0.0.1:6379 or [::1]:6379")
		}
		unique.Check(item, address, "address")
		addresses = append(addresses, address)
	}
	return addresses
}

// hostName matches the name of a host, which need not be registered in DNS.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,252}$`)

func isHost(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil || hostName.MatchString(text)
}

func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	number, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil && number > 0 && isHost(host)
}
