package catalog

import (
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/token"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// JWTVariable is the variable for the signed JWT in expressions.
const JWTVariable = "jwt"

// JWT defines a JSON Web Token that the broker signs (RFC 7519). The broker sets the claims iat, exp
// and jti, and the headers alg and, if Header lacks it, typ.
type JWT struct {
	// Algorithm is the name of a signature algorithm in RFC 7518 or RFC 8037.
	Algorithm string `json:"algorithm"`
	// Key is the private key in PEM or, for the algorithms HS256, HS384 and HS512, the secret.
	Key *expression.Template `json:"key"`
	// KeyEncoding is how the secret is written: TEXT, BASE64 or HEX.
	KeyEncoding string `json:"key_encoding,omitempty"`
	// Lifetime is how long the JWT is valid from the moment it is signed: 1 s to 7 days.
	Lifetime time.Duration `json:"-"`
	// Backdate is how long before that moment the claim iat lies: 0 to 5 minutes.
	Backdate time.Duration `json:"-"`
	// Header and Claims are values as in package encoding/json, in which each text is an
	// *expression.Template.
	Header map[string]any `json:"header,omitempty"`
	Claims map[string]any `json:"claims"`
}

// MarshalJSON returns the definition of the JWT.
func (j *JWT) MarshalJSON() ([]byte, error) {
	type sameForm JWT
	return marshal(struct {
		*sameForm
		Lifetime string `json:"lifetime"`
		Backdate string `json:"backdate"`
	}{(*sameForm)(j), j.Lifetime.String(), j.Backdate.String()})
}

var algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
}

// IsSymmetric reports whether the key is a secret that the provider has, too.
func (j *JWT) IsSymmetric() bool { return strings.HasPrefix(j.Algorithm, "HS") }

func defineJWT(item yamlfile.Value, scope *scope) *JWT {
	item.Mapping("algorithm", "key", "key_encoding", "lifetime", "backdate", "header", "claims").Requires("algorithm", "key", "claims")
	jwt := &JWT{
		Algorithm: item.Get("algorithm").OneOf(algorithms...),
		Key:       scope.compile(item.Get("key"), 1, maxParagraph),
		Lifetime:  item.Get("lifetime").Duration(time.Second, token.MaxLifetime, 5*time.Minute, "from 1s to 168h, such as 5m"),
		Backdate:  item.Get("backdate").Duration(0, 5*time.Minute, 0, "from 0s to 5m, such as 60s"),
		Header:    readJWTPart(item.Get("header"), scope, "alg"),
		Claims:    readJWTPart(item.Get("claims"), scope, "iat", "exp", "jti"),
	}
	for _, name := range []string{"crit", "b64"} { // RFC 7515, section 4.1.11, and RFC 7797
		item.Get("header").Get(name).Key().Problemf("changes how receivers read the JWT, so it is not allowed: remove it")
	}
	if text := jwt.Key.String(); jwt.Key != broken && text != "" && len(jwt.Key.Uses()) == 0 {
		item.Get("key").Problemf("must have an expression, such as ${private_key}, because the key is a value of the credential")
		scope.broken = true // the key is probably meant to use a field
	}
	encoding := item.Get("key_encoding").OneOf("TEXT", "BASE64", "HEX")
	switch {
	case jwt.IsSymmetric() && encoding == "":
		jwt.KeyEncoding = "TEXT"
	case jwt.IsSymmetric():
		jwt.KeyEncoding = encoding
	case encoding != "":
		item.Get("key_encoding").Key().Problemf("is for the algorithms HS256, HS384 and HS512: the key of %s is in PEM", jwt.Algorithm)
	}
	return jwt
}

func readJWTPart(mapping yamlfile.Value, scope *scope, reserved ...string) map[string]any {
	if !mapping.Exists() {
		return nil
	}
	entries, _ := mapping.Entries()
	for _, entry := range entries {
		if slices.Contains(reserved, entry.Name()) {
			entry.Key().Problemf("the broker sets %q itself", entry.Name())
		}
	}
	return scope.compileObject(mapping, maxNesting)
}
