package config

import (
	"crypto/x509"
	"net/url"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// Console configures the web pages for people who manage credentials.
type Console struct {
	Address Address
	// URL is the address that people type, scheme://HOST[:PORT] without a path; empty for a console
	// that only this machine can reach.
	URL string
	// OpenID are the issuers at which people sign in.
	OpenID []OpenID
}

// OpenID is an OpenID Connect issuer at which people sign in to the console.
type OpenID struct {
	// Name is the middle part of the names of the issuer's people, `oidc:NAME:SUBJECT`.
	Name string
	// Issuer is the URL of the issuer. The broker reads its settings at
	// ISSUER/.well-known/openid-configuration.
	Issuer       string
	ClientID     string
	ClientSecret secret.Text // empty for a public client
	// Scopes are requested in addition to `openid`.
	Scopes []string
	// GroupsClaim is the name of the claim with the names of a person's groups; empty: people have
	// no groups.
	GroupsClaim string
	// RootCAs are the authorities that may sign the certificate of the issuer. If RootCAs is nil,
	// the authorities that the system trusts may sign it.
	RootCAs *x509.CertPool
	// AllowPrivate allows private, local and special addresses for the issuer.
	AllowPrivate bool
}

// Same reports whether two configurations need the same listener and the same issuers.
func (c *Console) Same(other *Console) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.Address == other.Address && c.URL == other.URL && slices.EqualFunc(c.OpenID, other.OpenID, func(a, b OpenID) bool {
		return a.Name == b.Name && a.Issuer == b.Issuer && a.ClientID == b.ClientID && a.ClientSecret.Equal(b.ClientSecret) &&
			slices.Equal(a.Scopes, b.Scopes) && a.GroupsClaim == b.GroupsClaim && a.RootCAs.Equal(b.RootCAs) && a.AllowPrivate == b.AllowPrivate
	})
}

// IssuerNames returns the names of the OpenID Connect issuers. A nil Console has none.
func (c *Console) IssuerNames() []string {
	if c == nil {
		return nil
	}
	return ids(c.OpenID, func(o OpenID) string { return o.Name })
}

// readConsole returns nil if the section is missing.
func (p *parser) readConsole(section yamlfile.Value, listen Listen, jwt []authentication.Issuer) *Console {
	if !section.Exists() {
		return nil
	}
	if section.Empty() {
		section.Problemf("must be a mapping, and is empty: write console: {}")
		return nil
	}
	section.Mapping("address", "url", "oidc")
	console := &Console{Address: Address{Network: "tcp", Address: "127.0.0.1:8081"}}
	if address := section.Get("address"); strings.HasPrefix(address.Text(yamlfile.MaxText), "unix://") {
		address.Problemf("must be HOST:PORT, because browsers cannot open a Unix socket")
	} else if address.Text(yamlfile.MaxText) != "" {
		console.Address = readHostPort(address, "must be an address with a port, such as 127.0.0.1:8081")
	}
	console.readURL(section)
	names := yamlfile.Unique{}
	for _, item := range section.Get("oidc").List(0, 16) {
		read := p.readOpenID(item)
		names.Check(item.Get("name"), read.Name, "name")
		if slices.ContainsFunc(jwt, func(i authentication.Issuer) bool { return i.Name == read.Name }) {
			item.Get("name").Problemf("is the name of an issuer in authentication.jwt: use another name, because groups are named after their issuer")
		}
		console.OpenID = append(console.OpenID, read)
	}
	if console.Address.Remote && listen.TLS == nil {
		section.Get("address").Problemf("needs listen.tls, because other machines can reach the address: without TLS, secrets that people type could be read on the network")
	}
	if console.URL == "" && (console.Address.Remote || len(console.OpenID) > 0) {
		section.Problemf("needs url, the address that people type, such as https://broker.example.com")
	}
	return console
}

func (c *Console) readURL(section yamlfile.Value) {
	value := section.Get("url")
	text := strings.TrimSuffix(value.Text(yamlfile.MaxText), "/")
	if text == "" {
		return
	}
	location, err := url.Parse(text)
	if err != nil || location.Hostname() == "" || location.Path != "" || location.Fragment != "" || location.RawQuery != "" || location.User != nil ||
		location.Scheme != "https" && (location.Scheme != "http" || c.Address.Remote) {
		value.Problemf("must be https://HOST[:PORT] without a path; a console that only this machine can reach may use http://")
	}
	// Browsers leave out the usual port.
	c.URL = strings.ToLower(text)
	for scheme, port := range map[string]string{"https://": ":443", "http://": ":80"} {
		if strings.HasPrefix(c.URL, scheme) {
			c.URL = strings.TrimSuffix(c.URL, port)
		}
	}
}

func (p *parser) readOpenID(item yamlfile.Value) OpenID {
	item.Mapping("name", "issuer", "client_id", "client_secret", "scopes", "groups_claim", "ca_file", "allow_private_addresses").Requires("name", "issuer", "client_id")
	read := OpenID{
		Name:         readName(item),
		Issuer:       item.Get("issuer").Text(2048),
		ClientID:     item.Get("client_id").Text(2048),
		GroupsClaim:  item.Get("groups_claim").Text(256),
		RootCAs:      p.readPool(item.Get("ca_file")),
		AllowPrivate: item.Get("allow_private_addresses").Bool(false),
	}
	read.ClientSecret, _ = p.readSecret(item.Get("client_secret"))
	for _, scope := range item.Get("scopes").List(0, 16) {
		read.Scopes = append(read.Scopes, scope.Text(256))
	}
	location, err := url.Parse(read.Issuer)
	if read.Issuer != "" && (err != nil || location.Scheme != "https" || location.Host == "" || location.RawQuery != "") {
		item.Get("issuer").Problemf("must be an https:// URL without a query")
	}
	return read
}
