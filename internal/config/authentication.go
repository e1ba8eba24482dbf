package config

import (
	"fmt"
	"strings"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// Authentication says by what callers prove who they are, beside client certificates.
type Authentication struct {
	// Demanded says that callers have to: the file has a section for it. Otherwise they do
	// only where listen.tls.client_ca_file is set.
	Demanded bool
	Issuers  []authentication.Issuer
	Tokens   []authentication.StaticToken
	// PeerUser reports whether the user of a process counts that calls over a Unix socket.
	PeerUser bool
}

// Remote reports whether it serves callers on other machines.
func (a Authentication) Remote() bool { return len(a.Issuers)+len(a.Tokens) > 0 }

func parseAuthentication(value strictyaml.Value, reader sourceReader) Authentication {
	peerUser := value.Key("peer_user")
	return Authentication{
		Demanded: value.Exists(),
		Issuers:  parseIssuers(value.Key("jwt"), reader),
		Tokens:   parseTokens(value.Key("tokens")),
		PeerUser: peerUser.Bool() || !peerUser.Exists(),
	}
}

func parseIssuers(list strictyaml.Value, reader sourceReader) []authentication.Issuer {
	var issuers []authentication.Issuer
	seen := map[string]bool{}
	for _, item := range list.Items() {
		issuer := parseIssuer(item, reader)
		if issuer.Name != "" && seen[issuer.Name] {
			item.Key("name").Problemf("this name stands twice")
		}
		seen[issuer.Name] = true
		issuers = append(issuers, issuer)
	}
	return issuers
}

func parseIssuer(item strictyaml.Value, reader sourceReader) authentication.Issuer {
	issuer := authentication.Issuer{
		Name:       item.Key("name").Text(),
		Issuer:     item.Key("issuer").Text(),
		Audiences:  texts(item.Key("audiences")),
		Algorithms: texts(item.Key("algorithms")),
	}
	file, location, ca, private := item.Key("jwks_file"), item.Key("jwks_url"), item.Key("ca_file"), item.Key("allow_private_addresses")
	issuer.AllowPrivate = private.Bool()
	switch {
	case !file.Exists() && !location.Exists():
		item.Problemf("needs jwks_file or jwks_url")
	case file.Exists() && location.Exists():
		item.KeyNode("jwks_url").Problemf("cannot stand beside jwks_file")
	}
	if file.Exists() {
		issuer.Keys = parseKeys(file, reader)
	}
	if location.Exists() {
		issuer.URL = parseKeyURL(location)
	}
	if private.Exists() && !location.Exists() {
		item.KeyNode("allow_private_addresses").Problemf("needs jwks_url: it is for the server there")
	}
	if ca.Exists() {
		issuer.RootCAs = reader.readPool(ca)
		if !location.Exists() {
			item.KeyNode("ca_file").Problemf("needs jwks_url: it is for the server there")
		}
	}
	return issuer
}

// maxKeySet is the largest file with a JSON Web Key Set, in bytes.
const maxKeySet = 1 << 20

// parseKeys returns nil when a problem was reported.
func parseKeys(file strictyaml.Value, reader sourceReader) *authentication.Keys {
	text, ok := reader.readWhole(file, maxKeySet)
	if !ok {
		return nil
	}
	keys, err := authentication.ParseKeys([]byte(text))
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

func parseKeyURL(value strictyaml.Value) string {
	text := value.Text()
	if err := authentication.CheckKeyURL(text); text != "" && err != nil {
		value.Problemf("%s", err)
	}
	return text
}

func parseTokens(list strictyaml.Value) []authentication.StaticToken {
	var tokens []authentication.StaticToken
	seen := map[authentication.TokenHash]bool{}
	for _, item := range list.Items() {
		value := item.Key("sha256")
		text := value.Text()
		if strings.HasPrefix(text, authentication.TokenPrefix) {
			value.Problemf("this is a token itself, and not its hash: it is a secret no longer. Make another with 'broker token new'")
			continue
		}
		hash, err := authentication.ParseTokenHash(text)
		switch {
		case text == "":
			continue // the schema has reported it
		case err != nil:
			value.Problemf("%s", err)
		case seen[hash]:
			value.Problemf("this hash stands twice")
		}
		seen[hash] = true
		tokens = append(tokens, authentication.StaticToken{Name: item.Key("name").Text(), Hash: hash})
	}
	return tokens
}

// texts returns the strings of a list.
func texts(list strictyaml.Value) []string {
	var all []string
	for _, item := range list.Items() {
		all = append(all, item.Text())
	}
	return all
}
