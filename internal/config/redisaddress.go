package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// Of a Redis server.
const (
	defaultRedisPort = "6379"
	maxDatabase      = 1023
)

// parseRedisURL sets address, database and TLS. TLS is where tls stands, if it does.
func parseRedisURL(value, ofTLS strictyaml.Value, redis *Redis) {
	const form = "must be redis://HOST:PORT/DATABASE, or rediss:// for TLS; port and database can be left out"
	text := value.Text()
	if text == "" {
		return // the schema has reported it
	}
	if strings.Contains(text, "@") {
		value.Problemf("a user or a password cannot stand in the URL: give them as username and password")
		return
	}
	location, err := url.Parse(text)
	if err != nil || !slices.Contains([]string{"redis", "rediss"}, location.Scheme) || strings.ContainsAny(text, "?#") {
		value.Problemf(form)
		return
	}
	address := net.JoinHostPort(location.Hostname(), location.Port())
	if location.Port() == "" {
		address = net.JoinHostPort(location.Hostname(), defaultRedisPort)
	}
	if !isAddress(address) {
		value.Problemf(form)
		return
	}
	redis.Addresses = []string{address}
	if name := strings.TrimPrefix(location.Path, "/"); name != "" {
		number, err := strconv.ParseUint(name, 10, 16)
		if err != nil || number > maxDatabase {
			value.Problemf("the database must be a number from 0 to %d", maxDatabase)
		}
		redis.Database = int(number)
	}
	switch {
	case location.Scheme == "rediss" && redis.TLS == nil:
		redis.TLS = newTLS()
	case location.Scheme == "redis" && redis.TLS != nil:
		ofTLS.Problemf("needs rediss:// in the URL")
	}
}

func parseAddresses(list strictyaml.Value) []string {
	var addresses []string
	for _, item := range list.Items() {
		switch address := item.Text(); {
		case address == "": // the schema has reported it
		case !isAddress(address):
			item.Problemf("must be HOST:PORT, such as 10.0.0.1:6379 or [::1]:6379")
		case slices.Contains(addresses, address):
			item.Problemf("this address stands twice")
		default:
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// hostName is a name that is looked up: of DNS, or of a machine's own.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,252}$`)

// isHost reports whether text is a host name or an IP address.
func isHost(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil || hostName.MatchString(text)
}

// isAddress reports whether text is a host and a port from 1 to 65535.
func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number > 0 && isHost(host)
}
