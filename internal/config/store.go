package config

import (
	"cmp"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// Store configures the database of managed credentials: an SQLite file, or a PostgreSQL database
// that replicas share.
type Store struct {
	// SQLitePath is the absolute path of the SQLite file; empty for PostgreSQL.
	SQLitePath string
	// PostgresURL is postgres://HOST[:PORT]/DATABASE?sslmode=MODE without user and password; empty
	// for SQLite.
	PostgresURL string
	// User and Password are the login at PostgreSQL. If User is empty, Password is empty too.
	User, Password secret.Text
	// Keys encrypt the data keys of credentials. The first key encrypts, and all keys decrypt.
	Keys *fleetkeys.Ring
	// IDPatterns match the IDs that managed credentials may have. Default: all IDs.
	IDPatterns []access.Pattern
	// AllowedHosts are the hosts, in the form of catalog.ReadHosts, that managed credentials may
	// add to the hosts of their providers. Default: none.
	AllowedHosts []string
	// Administrators are patterns for callers that may view, manage and operate while the
	// configuration has no grants. Default: none.
	Administrators []access.Pattern
	// GrantsAreNew is true for `broker serve --data`, which makes the grants itself: then the
	// broker does not warn of the grants for a new store. The configuration file cannot set
	// GrantsAreNew.
	GrantsAreNew bool
}

// Same reports whether two configurations open the same database with the same keys. Settings
// that apply without a restart are not compared.
func (s *Store) Same(other *Store) bool {
	if s == nil || other == nil {
		return s == other
	}
	return s.SQLitePath == other.SQLitePath && s.PostgresURL == other.PostgresURL &&
		s.User.Equal(other.User) && s.Password.Equal(other.Password) && s.Keys.Equal(other.Keys)
}

// readStore returns nil if the section is missing.
func (p *parser) readStore(section yamlfile.Value, config *Config) *Store {
	if !section.Exists() {
		return nil
	}
	section.Mapping("url", "user", "password", "keys", "id_patterns", "allowed_hosts", "administrators").Requires("url", "keys")
	section.Needs("password", "user")
	store := &Store{
		Keys:         p.readKeyRing(section.Get("keys"), "store key"),
		IDPatterns:   []access.Pattern{"*"},
		AllowedHosts: catalog.ReadHosts(section.Get("allowed_hosts"), 0),
	}
	store.User, _ = p.readSecret(section.Get("user"))
	store.Password, _ = p.readSecret(section.Get("password"))
	store.setURL(section)
	if patterns := section.Get("id_patterns"); patterns.Exists() {
		store.IDPatterns = nil
		for _, value := range patterns.List(0, maxPatterns) {
			store.IDPatterns = append(store.IDPatterns, access.Pattern(value.Text(maxPattern)))
		}
	}
	for _, value := range section.Get("administrators").List(0, maxPatterns) {
		store.Administrators = append(store.Administrators, readCaller(value, config, true))
	}
	return store
}

func (s *Store) setURL(section yamlfile.Value) {
	value := section.Get("url")
	text := value.Text(yamlfile.MaxText)
	path, isFile := strings.CutPrefix(text, "sqlite://")
	switch {
	case text == "":
	case !isFile && strings.Contains(text, "@"):
		value.Problemf("a user or a password is not allowed in the URL: use user and password")
	case isFile:
		if !filepath.IsAbs(path) || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "?#") {
			value.Problemf("needs the absolute path of a file: sqlite:///var/lib/authmaterial/broker.db")
		}
		for _, key := range []string{"user", "password"} {
			section.Get(key).Key().Problemf("is not allowed with sqlite://: access to the file depends on its mode")
		}
		s.SQLitePath = filepath.Clean(path)
	case !strings.HasPrefix(text, "postgres://"):
		value.Problemf("must be sqlite:///PATH or postgres://HOST:PORT/DATABASE")
	default:
		s.setPostgres(value, text)
	}
}

func (s *Store) setPostgres(value yamlfile.Value, text string) {
	location, err := url.Parse(text)
	if err != nil {
		location = &url.URL{}
	}
	query, err := url.ParseQuery(location.RawQuery)
	address := net.JoinHostPort(location.Hostname(), cmp.Or(location.Port(), "5432"))
	database := strings.TrimPrefix(location.Path, "/")
	if err != nil || !isAddress(address) || database == "" || strings.Contains(database, "/") || strings.Contains(text, "#") {
		value.Problemf("must be postgres://HOST:PORT/DATABASE; the port can be left out")
		return
	}
	for name, values := range query {
		if name != "sslmode" && name != "sslrootcert" || len(values) != 1 {
			value.Problemf("only the parameters sslmode and sslrootcert are allowed in the URL, each of them once")
			return
		}
	}
	if query.Has("sslrootcert") && !filepath.IsAbs(query.Get("sslrootcert")) {
		value.Problemf("sslrootcert needs an absolute path")
	}
	setSSLMode(value, query, IsThisMachine(location.Hostname()))
	location.RawQuery = query.Encode()
	s.PostgresURL = location.String()
}

// sslModes are the accepted values of sslmode. PostgreSQL also knows the values allow and prefer.
// With these two, an attacker in the network can cause a connection without TLS.
var sslModes = []string{"disable", "require", "verify-ca", "verify-full"}

// setSSLMode checks the parameter sslmode of a URL, or sets its default.
func setSSLMode(value yamlfile.Value, query url.Values, local bool) {
	mode := query.Get("sslmode")
	switch {
	case !query.Has("sslmode") && local:
		query.Set("sslmode", "disable")
	case !query.Has("sslmode"):
		query.Set("sslmode", "verify-full")
	case !slices.Contains(sslModes, mode):
		value.Problemf("sslmode must be one of %s", strings.Join(sslModes, ", "))
	case !local && !strings.HasPrefix(mode, "verify-"):
		value.Warnf("with this sslmode, the broker does not check the server's certificate: use verify-full")
	}
}
