package formtest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/testing/authtest"
)

// signed describes a JWT.
type signed struct {
	// Key is the name of the key in `keys`, or the secret of an algorithm such as HS256.
	Key       string
	Algorithm jose.SignatureAlgorithm
	Header    map[string]any
	// Claims are all claims but jti. The claims iat and exp are numbers of seconds from now.
	Claims map[string]any
}

// keys are the private keys of the cases, by name.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	all := map[string]crypto.Signer{}
	for name, bits := range map[string]int{"rsa": 2048, "short": 1024} {
		all[name] = must(rsa.GenerateKey(rand.Reader, bits))
	}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		all[name] = must(ecdsa.GenerateKey(curve, rand.Reader))
	}
	_, all["ed25519"] = ed25519Key()
	return all
})

func ed25519Key() (crypto.PublicKey, ed25519.PrivateKey) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	return must(public, err), private
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// made returns the PEM that a text such as `made:rsa` names: a key in PKCS #8, a key in PKCS #1 or
// SEC 1 (`made:rsa:old`), an encrypted key, or a certificate with its key. It returns any other text
// as it is.
func (n *internet) made(text string) string {
	name, found := strings.CutPrefix(text, "made:")
	name, old := strings.CutSuffix(name, ":old")
	switch {
	case !found:
		return text
	case name == "encrypted":
		return block("ENCRYPTED PRIVATE KEY", []byte("anything"))
	case name == "encrypted:old":
		return "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nYW55dGhpbmc=\n-----END RSA PRIVATE KEY-----\n"
	case name == "openssh":
		return block("OPENSSH PRIVATE KEY", []byte("anything"))
	case name == "certificate":
		return string(authtest.CertificatePEM(n.client))
	case name == "certificate key":
		return string(authtest.KeyPEM(n.client))
	case name == "public":
		return block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(keys()["rsa"].Public())))
	}
	key := keys()[name]
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if old {
			return block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
		}
	case *ecdsa.PrivateKey:
		if old {
			return block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key)))
		}
	}
	return block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key)))
}

func block(kind string, data []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
}

var jwtPattern = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)

// withoutJWT verifies the JWT in a text, and replaces it by the word JWT.
func (c testCase) withoutJWT(t *testing.T, text string) string {
	t.Helper()
	compact := jwtPattern.FindString(text)
	if c.JWT == nil || compact == "" {
		return text
	}
	header, claims := c.JWT.open(t, compact)
	if id, _ := claims["jti"].(string); len(id) < 20 {
		t.Errorf("the claim jti is %q", claims["jti"])
	}
	delete(claims, "jti")
	for _, name := range []string{"iat", "exp"} {
		at, _ := claims[name].(float64)
		claims[name] = at - float64(now.Unix())
	}
	wantHeader := maps.Clone(c.JWT.Header)
	if wantHeader == nil {
		wantHeader = map[string]any{}
	}
	wantHeader["alg"] = string(c.JWT.Algorithm)
	if diff := cmp.Diff(plain(wantHeader), plain(header)); diff != "" {
		t.Errorf("the header of the JWT differs (- want, + got):\n%s", diff)
	}
	if diff := cmp.Diff(plain(c.JWT.Claims), plain(claims)); diff != "" {
		t.Errorf("the claims of the JWT differ (- want, + got):\n%s", diff)
	}
	return strings.Replace(text, compact, "JWT", 1)
}

// open verifies a JWT with a library that the broker does not sign with.
func (s *signed) open(t *testing.T, compact string) (header, claims map[string]any) {
	t.Helper()
	var key any = []byte(s.Key)
	if private := keys()[s.Key]; private != nil {
		key = private.Public()
	}
	parsed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{s.Algorithm})
	if err != nil {
		t.Fatalf("the JWT: %v", err)
	}
	payload, err := parsed.Verify(key)
	if err != nil {
		t.Fatalf("the signature of the JWT: %v", err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatalf("the claims of the JWT: %v", err)
	}
	first, _, _ := strings.Cut(compact, ".")
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(first)), &header); err != nil {
		t.Fatal(err)
	}
	return header, claims
}

// plain returns a value with the types of package encoding/json.
func plain(value any) (result any) {
	if err := json.Unmarshal(must(json.Marshal(value)), &result); err != nil {
		panic(err)
	}
	return result
}
