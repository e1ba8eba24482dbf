// Package authtest creates what tests need to authenticate callers: signing keys and JSON Web
// Tokens, servers that publish key sets, and certificates with their authorities. The package
// implements RFC 7515 and RFC 7518 without the library that the broker uses.
package authtest

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
)

// Key signs tokens.
type Key struct {
	ID        string
	Algorithm string
	// Public contains the members of the public key in a JSON Web Key Set, without the key ID.
	Public map[string]any

	sign func(input []byte) []byte
}

// NewRSA returns a key for RS256.
func NewRSA(id string) Key {
	private := must(rsa.GenerateKey(rand.Reader, 2048))
	return Key{id, "RS256",
		map[string]any{"kty": "RSA", "n": Encode(private.N.Bytes()), "e": Encode(big.NewInt(int64(private.E)).Bytes())},
		func(input []byte) []byte {
			sum := sha256.Sum256(input)
			return must(rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:]))
		}}
}

// NewEC returns a key for ES256.
func NewEC(id string) Key {
	const size = 32
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	point := must(private.PublicKey.Bytes())
	return Key{id, "ES256",
		map[string]any{"kty": "EC", "crv": "P-256", "x": Encode(point[1 : 1+size]), "y": Encode(point[1+size:])},
		func(input []byte) []byte {
			sum := sha256.Sum256(input)
			r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
			return must(append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), err)
		}}
}

// NewEd returns a key for EdDSA.
func NewEd(id string) Key {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	return must(Key{id, "EdDSA",
		map[string]any{"kty": "OKP", "crv": "Ed25519", "x": Encode(public)},
		func(input []byte) []byte { return ed25519.Sign(private, input) }}, err)
}

// Unsigned returns a key with the algorithm none, whose tokens have an empty signature.
func Unsigned(id string) Key {
	return Key{ID: id, Algorithm: "none", sign: func([]byte) []byte { return nil }}
}

// BySecret returns a copy of k that signs tokens with HMAC and the given secret, instead of k's
// private key. Tests use such a key to forge tokens with a secret that an attacker knows, for
// example a public key.
func (k Key) BySecret(secret string) Key {
	k.Algorithm = "HS256"
	k.sign = func(input []byte) []byte {
		sum := hmac.New(sha256.New, []byte(secret))
		_, _ = sum.Write(input)
		return sum.Sum(nil)
	}
	return k
}

// With returns a copy of k with members added to the field Public, or replaced in it. A nil value
// removes a member.
func (k Key) With(members map[string]any) Key {
	k.Public = changed(k.Public, members)
	return k
}

// KeySet returns a JSON Web Key Set.
func KeySet(keys ...Key) []byte {
	set := []map[string]any{}
	for _, k := range keys {
		set = append(set, k.With(map[string]any{"kid": k.ID}).Public)
	}
	return must(json.Marshal(map[string]any{"keys": set}))
}

// Claims are the claims of a token.
type Claims map[string]any

// With returns a copy with added or replaced claims. A nil value removes a claim.
func (c Claims) With(others Claims) Claims { return changed(c, others) }

// Mint returns a signed token whose header contains the key's algorithm and ID. `members` adds or
// replaces members of the header. A nil value removes a member.
func (k Key) Mint(members map[string]any, claims Claims) string {
	header := changed(map[string]any{"alg": k.Algorithm, "kid": k.ID}, members)
	return k.Assemble(must(json.Marshal(header)), must(json.Marshal(claims)))
}

// Assemble returns a token with any header and payload, signed with the key.
func (k Key) Assemble(header, payload []byte) string {
	input := Encode(header) + "." + Encode(payload)
	return input + "." + Encode(k.sign([]byte(input)))
}

// Encode encodes data in base64url without padding.
func Encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// `changed` returns a copy of a map with added or replaced entries. A nil value removes an entry.
func changed[M ~map[string]any](from M, others map[string]any) M {
	made := maps.Clone(from)
	maps.Copy(made, others)
	maps.DeleteFunc(made, func(_ string, value any) bool { return value == nil })
	return made
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
