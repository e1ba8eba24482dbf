package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// Authentication configures all ways to authenticate callers except client certificates.
type Authentication struct {
	// Demanded is true if the file has the section `authentication`, which requires all callers to
	// authenticate. Without this section, callers must authenticate only if
	// `listen.tls.client_ca_file` is set.
	Demanded bool
	Issuers  []authentication.Issuer
	Tokens   []authentication.StaticToken
	// PeerUser enables the authentication of callers on Unix sockets by the user of the calling
	// process.
	PeerUser bool
}

// Remote reports whether callers on other machines can authenticate by token.
func (a Authentication) Remote() bool { return len(a.Issuers)+len(a.Tokens) > 0 }

func (p *parser) readAuthentication(section yamlfile.Value) Authentication {
	section.Mapping("jwt", "tokens", "peer_user")
	read := Authentication{
		Demanded: section.Exists(),
		Tokens:   readTokens(section.Get("tokens")),
		PeerUser: section.Get("peer_user").Bool(true),
	}
	names := yamlfile.Unique{}
	for _, item := range section.Get("jwt").List(0, 32) {
		issuer := p.readIssuer(item)
		names.Check(item.Get("name"), issuer.Name, "name")
		read.Issuers = append(read.Issuers, issuer)
	}
	return read
}

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$`)

// readName reads the name of an issuer or a static token, which becomes part of callers' names.
func readName(item yamlfile.Value) string {
	return item.Get("name").Match(namePattern,
		"must be 1 to 64 lower-case letters, digits, dots, underscores and hyphens, with a letter or digit at each end")
}

func (p *parser) readIssuer(item yamlfile.Value) authentication.Issuer {
	item.Mapping("name", "issuer", "audiences", "jwks_file", "jwks_url", "allow_private_addresses", "ca_file", "algorithms", "groups_claim").
		Requires("name", "issuer", "audiences")
	file, location := item.Get("jwks_file"), item.Get("jwks_url")
	issuer := authentication.Issuer{
		Name:         readName(item),
		Issuer:       item.Get("issuer").Text(2048),
		Keys:         p.readKeys(file),
		URL:          location.Text(yamlfile.MaxText),
		AllowPrivate: item.Get("allow_private_addresses").Bool(false),
		RootCAs:      p.readPool(item.Get("ca_file")),
		GroupsClaim:  item.Get("groups_claim").Text(256),
	}
	for _, audience := range item.Get("audiences").List(1, 100) {
		issuer.Audiences = append(issuer.Audiences, audience.Text(2048))
	}
	for _, algorithm := range item.Get("algorithms").List(1, 100) {
		issuer.Algorithms = append(issuer.Algorithms, algorithm.OneOf(authentication.Algorithms()...))
	}
	if !file.Exists() && !location.Exists() {
		item.Problemf("needs jwks_file or jwks_url")
	}
	item.Excludes("jwks_url", "jwks_file")
	item.Needs("allow_private_addresses", "jwks_url")
	item.Needs("ca_file", "jwks_url")
	if err := authentication.CheckKeyURL(issuer.URL); issuer.URL != "" && err != nil {
		location.Problemf("%s", err)
	}
	return issuer
}

// readKeys returns nil if no file is configured or a problem was reported.
func (p *parser) readKeys(file yamlfile.Value) *authentication.Keys {
	const maxKeySet = 1 << 20 // bytes
	content, ok := p.readPath(file, maxKeySet)
	if !ok {
		return nil
	}
	keys, err := authentication.ParseKeys([]byte(content))
	if err != nil {
		file.Problemf("the file %s", err)
		return nil
	}
	if keys.Empty() {
		file.Warnf("the file has no keys: every token of this issuer is refused")
	}
	if places, count := keys.Ignored(); count > 0 {
		list := strings.Join(places, "; ")
		if more := count - len(places); more > 0 {
			list += fmt.Sprintf("; and %d more", more)
		}
		file.Warnf("keys of the file that are ignored: %s. They are malformed, or of a type, size or algorithm that is not supported", list)
	}
	return keys
}

func readTokens(list yamlfile.Value) []authentication.StaticToken {
	var tokens []authentication.StaticToken
	hashes := yamlfile.Unique{}
	for _, item := range list.List(0, 1000) {
		item.Mapping("name", "sha256").Requires("name", "sha256")
		value := item.Get("sha256")
		text := value.Text(yamlfile.MaxText)
		hash, err := authentication.ParseTokenHash(text)
		switch {
		case strings.HasPrefix(text, authentication.TokenPrefix):
			value.Problemf("this is the token itself, not its hash, so it is no longer a secret. Make another with 'broker token new'")
		case text != "" && err != nil:
			value.Problemf("%s", err)
		}
		hashes.Check(value, text, "hash")
		tokens = append(tokens, authentication.StaticToken{Name: readName(item), Hash: hash})
	}
	return tokens
}
