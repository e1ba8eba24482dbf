package authentication_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/authentication"
)

// now is the time of tests without a network.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testKey is a key of an issuer, and how it signs: written here from RFC 7518, without the
// library that the broker uses.
type testKey struct {
	id, algorithm string
	public        map[string]any // as in a JSON Web Key Set, without the id
	sign          func(input []byte) []byte
}

var (
	keyRS      = newRSA("rs")
	keyES      = newEC("es")
	keyES2     = newEC("es2")
	keyEd      = newEd("ed")
	keyUnknown = newEC("unknown")
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func newRSA(id string) testKey {
	private := must(rsa.GenerateKey(rand.Reader, 2048))
	return testKey{id, "RS256",
		map[string]any{"kty": "RSA", "n": encode(private.N.Bytes()), "e": encode(big.NewInt(int64(private.E)).Bytes())},
		func(input []byte) []byte {
			sum := sha256.Sum256(input)
			return must(rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:]))
		}}
}

func newEC(id string) testKey {
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	point := must(private.PublicKey.Bytes())
	return testKey{id, "ES256",
		map[string]any{"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])},
		func(input []byte) []byte {
			sum := sha256.Sum256(input)
			r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
			return must(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), err)
		}}
}

func newEd(id string) testKey {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	return must(testKey{id, "EdDSA",
		map[string]any{"kty": "OKP", "crv": "Ed25519", "x": encode(public)},
		func(input []byte) []byte { return ed25519.Sign(private, input) }}, err)
}

// signedWith returns the key as one that signs by HMAC, with a secret that everybody knows.
func (k testKey) signedWith(secret string) testKey {
	k.algorithm = "HS256"
	k.sign = func(input []byte) []byte {
		sum := hmac.New(sha256.New, []byte(secret))
		sum.Write(input)
		return sum.Sum(nil)
	}
	return k
}

// with returns the key with more members in the set.
func (k testKey) with(members map[string]any) testKey {
	k.public = maps.Clone(k.public)
	maps.Copy(k.public, members)
	return k
}

// keySet returns a JSON Web Key Set.
func keySet(keys ...testKey) []byte {
	set := []map[string]any{}
	for _, k := range keys {
		set = append(set, k.with(map[string]any{"kid": k.id}).public)
	}
	return must(json.Marshal(map[string]any{"keys": set}))
}

// mint returns a token of issuer.test for alice at the broker, for an hour from now.
// Members and claims replace those; a nil one removes it.
func mint(k testKey, members, claims map[string]any) string {
	header := map[string]any{"alg": k.algorithm, "kid": k.id}
	payload := map[string]any{"iss": "https://issuer.test", "aud": "broker", "sub": "alice", "exp": now.Add(time.Hour).Unix()}
	for from, to := range map[*map[string]any]map[string]any{&members: header, &claims: payload} {
		maps.Copy(to, *from)
		maps.DeleteFunc(to, func(_ string, value any) bool { return value == nil })
	}
	return assemble(k, must(json.Marshal(header)), must(json.Marshal(payload)))
}

func assemble(k testKey, header, payload []byte) string {
	input := encode(header) + "." + encode(payload)
	return input + "." + encode(k.sign([]byte(input)))
}

// fileIssuer is issuer.test with these keys in a file.
func fileIssuer(name string, keys ...testKey) authentication.Issuer {
	return authentication.Issuer{
		Name: name, Issuer: "https://issuer.test", Audiences: []string{"broker", "other-broker"},
		Keys: must(authentication.ParseKeys(keySet(keys...))),
	}
}

func newJWT(t testing.TB, issuers ...authentication.Issuer) *authentication.JWT {
	t.Helper()
	jwt := authentication.NewJWT(authentication.JWTOptions{Clock: clockwork.NewFakeClockAt(now)})
	t.Cleanup(jwt.Close)
	if err := jwt.Use(issuers); err != nil {
		t.Fatal(err)
	}
	return jwt
}
