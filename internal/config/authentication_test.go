package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const (
	keySet     = `{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	privateSet = `{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}`
)

func authenticationFolder(t *testing.T) string {
	t.Helper()
	dir := tlsFolder(t)
	for name, text := range map[string]string{"keys": keySet, "private": privateSet, "none": `{"keys": []}`, "huge": strings.Repeat(" ", 1<<20+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// parseAuthentication parses a file in the folder dir. The argument `text` begins in line 1, column
// 17, of the file.
func parseAuthentication(dir, text string) (*config.Config, error) {
	return config.Parse(filepath.Join(dir, "b.yaml"), []byte("authentication: "+text+"\n"), config.Options{LookupEnv: environment})
}

func TestAuthentication(t *testing.T) {
	first, second := authentication.HashToken(authentication.GenerateToken()), authentication.HashToken(authentication.GenerateToken())
	var read []string
	got, err := config.Parse(filepath.Join(authenticationFolder(t), "b.yaml"), []byte(`
authentication:
  jwt:
    - {name: cluster-1, issuer: "https://kubernetes.default.svc", audiences: [broker], jwks_file: keys}
    - name: idp
      issuer: https://idp.example.test/
      audiences: [broker, "https://broker.example.test"]
      jwks_url: https://idp.example.test:8443/keys?tenant=a
      ca_file: ab.pem
      algorithms: [ES256, EdDSA]
  tokens:
    - {name: mailer, sha256: "`+first.String()+`"}
    - {name: mailer, sha256: "`+second.String()+`"}
  peer_user: false
`), config.Options{Reading: func(path string) { read = append(read, filepath.Base(path)) }})
	if err != nil {
		t.Fatal(err)
	}
	a := got.Authentication
	if !a.Demanded || a.PeerUser || !a.Remote() || len(a.Issuers) != 2 {
		t.Fatalf("authentication is %+v", a)
	}
	cluster, idp := a.Issuers[0], a.Issuers[1]
	if cluster.Name != "cluster-1" || cluster.Issuer != "https://kubernetes.default.svc" || !slices.Equal(cluster.Audiences, []string{"broker"}) ||
		cluster.Keys == nil || cluster.URL != "" || cluster.RootCAs != nil || cluster.Algorithms != nil {
		t.Errorf("the first issuer is %+v", cluster)
	}
	if idp.Name != "idp" || idp.Issuer != "https://idp.example.test/" || !slices.Equal(idp.Audiences, []string{"broker", "https://broker.example.test"}) ||
		idp.Keys != nil || idp.URL != "https://idp.example.test:8443/keys?tenant=a" || idp.RootCAs == nil || !slices.Equal(idp.Algorithms, []string{"ES256", "EdDSA"}) {
		t.Errorf("the second issuer is %+v", idp)
	}
	if want := []authentication.StaticToken{{Name: "mailer", Hash: first}, {Name: "mailer", Hash: second}}; !slices.Equal(a.Tokens, want) {
		t.Errorf("the tokens are %v", a.Tokens)
	}
	if slices.Sort(read); !slices.Equal(read, []string{"ab.pem", "keys"}) {
		t.Errorf("the files that were read are %v", read)
	}
}

func TestAuthenticationByDefault(t *testing.T) {
	const token = `{tokens: [{name: a, sha256: "0000000000000000000000000000000000000000000000000000000000000000"}]}`
	for text, want := range map[string]struct{ demanded, peerUser, remote bool }{
		"credentials: []":                       {false, true, false},
		"authentication: {}":                    {true, true, false},
		"authentication: {peer_user: true}":     {true, true, false},
		"authentication: {peer_user: false}":    {true, false, false},
		"authentication: {jwt: [], tokens: []}": {true, true, false},
		"authentication: " + token:              {true, true, true},
	} {
		got, err := parse(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if a := got.Authentication; a.Demanded != want.demanded || a.PeerUser != want.peerUser || a.Remote() != want.remote {
			t.Errorf("%s: the authentication section is %+v, want %+v", text, a, want)
		}
	}
}

func TestAuthenticationMistakes(t *testing.T) {
	const (
		name     = "must be 1 to 64 lower-case letters, digits, dots, underscores and hyphens, with a letter or digit at each end"
		noHash   = "must be a SHA-256 in 64 lower-case hexadecimal digits, as 'broker token new' prints it"
		aToken   = "this is the token itself, not its hash, so it is no longer a secret. Make another with 'broker token new'"
		noURL    = "must be an https URL with a DNS name or an IP address, a port from 1 to 65535 or none, and no user and no fragment"
		relative = "; a relative path is relative to $DIR"
	)
	token := authentication.GenerateToken()
	hash := authentication.HashToken(token).String()
	// The argument `text` begins in column 61 of the line.
	issuer := func(text string) string { return "{jwt: [{name: a, issuer: i, audiences: [b], " + text + "}]}" }
	tokens := func(text string) string { return "{tokens: [" + text + "]}" }
	for what, test := range map[string]struct {
		text string
		want string // one problem per line, each with its column
	}{
		"nothing":                 {"", "16: must be a mapping, and is empty"},
		"a list":                  {"[]", "17: must be a mapping, and is a list"},
		"no such key":             {"{jwts: []}", `18: unknown key; did you mean "jwt"?`},
		"a word as peer_user":     {"{peer_user: uid}", "29: must be true or false, and is a string"},
		"no issuer":               {"{jwt: [{jwks_file: keys}]}", `24: the key "audiences" is missing` + "\n" + `24: the key "issuer" is missing` + "\n" + `24: the key "name" is missing`},
		"no audience":             {"{jwt: [{name: a, issuer: i, audiences: [], jwks_file: keys}]}", "56: must have 1 to 100 items, and has 0"},
		"an empty audience":       {`{jwt: [{name: a, issuer: i, audiences: [""], jwks_file: keys}]}`, "57: must not be empty"},
		"a colon in the name":     {`{jwt: [{name: "a:b", issuer: i, audiences: [b], jwks_file: keys}]}`, "31: " + name},
		"the same name":           {"{jwt: [{name: a, issuer: i, audiences: [b], jwks_file: keys}, {name: a, issuer: j, audiences: [b], jwks_file: keys}]}", "86: duplicate name: it is already in line 1"},
		"no keys":                 {"{jwt: [{name: a, issuer: i, audiences: [b]}]}", "24: needs jwks_file or jwks_url"},
		"two places of keys":      {issuer(`jwks_file: keys, jwks_url: "https://a"`), "78: is not allowed together with jwks_file"},
		"no such file":            {issuer("jwks_file: " + canary), "72: the file does not exist" + relative},
		"a large file":            {issuer("jwks_file: huge"), "72: the file is larger than the limit of 1 MiB" + relative},
		"no key set":              {issuer("jwks_file: good"), "72: the file is not a JSON Web Key Set of up to 1 MiB and 1000 keys"},
		"private keys":            {issuer("jwks_file: private"), "72: the file contains a private or symmetric key, with which everybody who reads it could sign tokens: leave only public keys in it"},
		"http":                    {issuer(`jwks_url: "http://idp.example.test/"`), "71: " + noURL},
		"a password":              {issuer(`jwks_url: "https://a:` + canary + `@b/"`), "71: " + noURL},
		"a fragment":              {issuer(`jwks_url: "https://a/#` + canary + `"`), "71: " + noURL},
		"no host":                 {issuer(`jwks_url: "https:///a"`), "71: " + noURL},
		"no URL":                  {issuer(`jwks_url: "https://a:` + canary + `"`), "71: " + noURL},
		"no port":                 {issuer(`jwks_url: "https://a:99999/"`), "71: " + noURL},
		"a CA file for a file":    {issuer("jwks_file: keys, ca_file: a.pem"), "78: needs jwks_url"},
		"http at loopback":        {issuer(`jwks_url: "http://127.0.0.1/"`), "71: " + noURL},
		"a number":                {issuer(`jwks_url: "https://2130706433/"`), "71: " + noURL},
		"http by name":            {issuer(`jwks_url: "http://localhost/"`), "71: " + noURL},
		"http at this machine":    {issuer(`jwks_url: "http://127.0.0.1:80/"`), "71: " + noURL},
		"http at IPv6 loopback":   {issuer(`jwks_url: "http://[::1]/"`), "71: " + noURL},
		"permission for a file":   {issuer("jwks_file: keys, allow_private_addresses: true"), "78: needs jwks_url"},
		"no CA file":              {issuer(`jwks_url: "https://a", ca_file: nowhere`), "93: the file does not exist" + relative},
		"a key as CA":             {issuer(`jwks_url: "https://a", ca_file: mixed.pem`), "93: mixed.pem:9: expected a CERTIFICATE, found PRIVATE KEY: only certificates belong in this file"},
		"none":                    {issuer("jwks_file: keys, algorithms: [none]"), `91: must be one of "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"`},
		"HMAC":                    {issuer("jwks_file: keys, algorithms: [ES256, HS256]"), `98: must be one of "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"`},
		"no algorithm":            {issuer("jwks_file: keys, algorithms: []"), "90: must have 1 to 100 items, and has 0"},
		"no hash":                 {tokens("{name: a}"), `27: the key "sha256" is missing`},
		"no name":                 {tokens(`{sha256: "` + hash + `"}`), `27: the key "name" is missing`},
		"the token":               {tokens(`{name: a, sha256: ` + token.Reveal() + `}`), "45: " + aToken},
		"a short hash":            {tokens(`{name: a, sha256: ` + canary + `}`), "45: " + noHash},
		"a hash in capitals":      {tokens(`{name: a, sha256: "` + strings.Repeat("AB", 32) + `"}`), "45: " + noHash},
		"a hash as a number":      {tokens(`{name: a, sha256: ` + strings.Repeat("12", 32) + `}`), "45: must be a string, and is a number: put it in quotes"},
		"an empty hash":           {tokens(`{name: a, sha256: ""}`), "45: must not be empty"},
		"the same hash":           {tokens(`{name: a, sha256: "` + hash + `"}, {name: b, sha256: "` + hash + `"}`), "132: duplicate hash: it is already in line 1"},
		"the token for the token": {tokens(`{name: a, token: ` + token.Reveal() + `}`), `27: the key "sha256" is missing` + "\n" + `37: unknown key; known here: "name", "sha256"`},
	} {
		t.Run(what, func(t *testing.T) {
			dir := authenticationFolder(t)
			_, err := parseAuthentication(dir, test.text)
			var problems yamlfile.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("the error is %v, want problems", err)
			}
			text := strings.ReplaceAll(strings.ReplaceAll(err.Error(), filepath.Join(dir, "b.yaml")+":1:", ""), dir, "$DIR")
			if text != test.want {
				t.Errorf("the problems are\n%s\nwant\n%s", text, test.want)
			}
			if strings.Contains(text, canary) || strings.Contains(text, token.Reveal()) {
				t.Errorf("a problem quotes a secret: %s", text)
			}
		})
	}
}

func TestPrivateKeyServers(t *testing.T) {
	for text, private := range map[string]bool{
		`jwks_url: "https://a"`:                                 false,
		`jwks_url: "https://a", allow_private_addresses: true`:  true,
		`jwks_url: "https://a", allow_private_addresses: false`: false,
	} {
		got, err := parseAuthentication(authenticationFolder(t), "{jwt: [{name: a, issuer: i, audiences: [b], "+text+"}]}")
		if err != nil || got.Authentication.Issuers[0].AllowPrivate != private {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestAlgorithms checks that a configuration may name every supported algorithm, and that the
// problem about an unsupported algorithm lists the supported ones.
func TestAlgorithms(t *testing.T) {
	dir := authenticationFolder(t)
	all := authentication.Algorithms()
	text := "{jwt: [{name: a, issuer: i, audiences: [b], jwks_file: keys, algorithms: [" + strings.Join(all, ", ") + "]}]}"
	if got, err := parseAuthentication(dir, text); err != nil || !slices.Equal(got.Authentication.Issuers[0].Algorithms, all) {
		t.Errorf("%v", err)
	}
	_, err := parseAuthentication(dir, strings.Replace(text, "RS256", "none", 1))
	for _, algorithm := range all {
		if err == nil || !strings.Contains(err.Error(), `"`+algorithm+`"`) {
			t.Errorf("the problem does not name %s: %v", algorithm, err)
		}
	}
}

// TestEmptyKeySet checks that an empty key set, which revokes all tokens of an issuer, causes only
// a warning.
func TestEmptyKeySet(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "keys"), []byte(`{"keys": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "listen: {grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\"}\ncredentials: []\n" +
		"authentication: {jwt: [{name: a, issuer: i, audiences: [b], jwks_file: keys}]}\n"
	got, err := config.Parse(filepath.Join(folder, "b.yaml"), []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if warnings := got.Warnings.Error(); !strings.HasSuffix(warnings, "b.yaml:3:72: the file has no keys: every token of this issuer is refused") {
		t.Errorf("the warnings are %q", warnings)
	}
}
