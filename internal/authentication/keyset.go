package authentication

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

const (
	// maxKeys is the maximum number of keys in a key set, including unused ones.
	maxKeys = 1000
	// maxIgnored is the maximum number of ignored keys whose positions are reported.
	maxIgnored = 10
	// maxKeyID is the maximum number of bytes of a key ID that a message contains.
	maxKeyID = 128
)

// signatures lists the supported signature algorithms with their types of keys. Neither symmetric
// algorithms nor the algorithm "none" are supported.
var signatures = []struct{ algorithm, key string }{
	{"RS256", "RSA"}, {"RS384", "RSA"}, {"RS512", "RSA"},
	{"PS256", "RSA"}, {"PS384", "RSA"}, {"PS512", "RSA"},
	{"ES256", "P-256"}, {"ES384", "P-384"}, {"ES512", "P-521"},
	{"EdDSA", "Ed25519"},
}

// Algorithms returns the names of the signature algorithms that an issuer may use.
func Algorithms() []string {
	var names []string
	for _, signature := range signatures {
		names = append(names, signature.algorithm)
	}
	return names
}

// Keys are the immutable public keys of an issuer.
type Keys struct {
	keys         []key
	ignored      []string // the positions of the ignored keys, at most maxIgnored
	ignoredCount int
}

type key struct {
	id         string // may be empty
	algorithms []string
	public     any // an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// Ignored returns the number of keys that are not used because they are malformed, private, or of
// an unsupported type. Keys for encryption do not count. Ignored also returns the positions of the
// first 10 ignored keys in the set, with their key IDs.
func (k *Keys) Ignored() (places []string, count int) { return k.ignored, k.ignoredCount }

// Empty reports whether the set has no keys. With an empty set, every token is refused.
func (k *Keys) Empty() bool { return len(k.keys) == 0 }

// find returns the keys that may have signed a token. If the token has no key ID, find returns a
// key only if the set has exactly one suitable key.
func (k *Keys) find(token bearerToken) []key {
	var found []key
	for _, candidate := range k.keys {
		if (token.keyID == "" || candidate.id == token.keyID) && slices.Contains(candidate.algorithms, token.algorithm.String()) {
			found = append(found, candidate)
		}
	}
	if token.keyID == "" && len(found) > 1 {
		return nil
	}
	return found
}

// `has` reports whether a key of the set may have signed a token. The result is false if k is nil.
func (k *Keys) has(token bearerToken) bool { return k != nil && len(k.find(token)) > 0 }

// These are the errors that ParseKeys returns.
var (
	errNoKeySet = errors.New("is not a JSON Web Key Set of up to 1 MiB and 1000 keys")
	errNoKey    = errors.New("contains no key that can verify tokens: supported are RSA keys of 2048 bits or more, and keys of the types P-256, P-384, P-521 and Ed25519")
	errNotPub   = errors.New("contains a private or symmetric key, with which everybody who reads it could sign tokens: leave only public keys in it")
)

// ParseKeys parses a JSON Web Key Set from a file, and leaves out keys that cannot verify a
// signature. ParseKeys returns an error if no key remains, unless the set in the file is empty.
// With an empty set, every token is refused. The texts of errors are meant to follow the name of
// the file, and quote none of its contents.
func ParseKeys(data []byte) (*Keys, error) {
	keys, published, err := parseKeys(data)
	if published {
		return nil, errNotPub
	}
	return keys, err
}

// parseKeys parses a key set, and leaves out private and symmetric keys, with which anybody who
// reads them could sign tokens. The result `published` reports whether the set has private or
// symmetric keys. The error is errNoKey if the set is not empty and has no usable key.
func parseKeys(data []byte) (keys *Keys, published bool, err error) {
	// The list is decoded first, because the JSON Web Key library would also accept a single key,
	// or several arrays of keys.
	var list struct {
		Keys []json.RawMessage `json:"keys"`
	}
	err = json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &list)
	if err != nil || list.Keys == nil || len(list.Keys) > maxKeys {
		return nil, false, errNoKeySet
	}
	data, _ = json.Marshal(list) // Marshal cannot fail, because the list was parsed from JSON
	set, err := jwk.Parse(data, jwk.WithStrictKeySetParsing(false))
	if err != nil {
		return nil, false, errNoKeySet
	}
	keys = &Keys{}
	for i := range set.Len() {
		entry, _ := set.Key(i)
		usage, _ := entry.KeyUsage()
		made, verifies := newKey(entry)
		switch {
		case isPrivate(entry):
			published = true
			keys.ignore(i, entry)
		case verifies:
			keys.keys = append(keys.keys, made)
		case usage != jwk.ForEncryption.String(): // keys for encryption are not reported, because issuers publish them in the same set
			keys.ignore(i, entry)
		}
	}
	if keys.Empty() && set.Len() > 0 {
		return nil, published, errNoKey
	}
	return keys, published, nil
}

// isPrivate reports whether a key can sign tokens.
func isPrivate(entry jwk.Key) bool {
	private, err := jwk.IsPrivateKey(entry)
	return (private || err != nil) && !jwk.IsUnsupportedKey(entry)
}

func (k *Keys) ignore(index int, entry jwk.Key) {
	k.ignoredCount++
	if len(k.ignored) == maxIgnored {
		return
	}
	place := fmt.Sprintf("number %d", index+1)
	if id, _ := entry.KeyID(); id != "" {
		place += fmt.Sprintf(", kid %.*q", maxKeyID, id)
	}
	k.ignored = append(k.ignored, place)
}

// newKey converts an entry of a key set. newKey returns false if the key cannot verify signatures
// of a supported algorithm.
func newKey(entry jwk.Key) (key, bool) {
	var made key
	usage, _ := entry.KeyUsage()
	operations, limited := entry.KeyOps()
	if usage != "" && usage != jwk.ForSignature.String() || limited && !slices.Contains(operations, jwk.KeyOpVerify) {
		return key{}, false
	}
	if jwk.Export(entry, &made.public) != nil {
		return key{}, false
	}
	made.id, _ = entry.KeyID()
	var kind string
	switch public := made.public.(type) {
	case *rsa.PublicKey: // the key has 2048 bits or more, because the parser refuses shorter keys
		kind = "RSA"
	case *ecdsa.PublicKey:
		kind = public.Curve.Params().Name
	case ed25519.PublicKey:
		kind = "Ed25519"
	}
	declared, restricted := entry.Algorithm()
	for _, signature := range signatures {
		if signature.key == kind && (!restricted || signature.algorithm == declared.String()) {
			made.algorithms = append(made.algorithms, signature.algorithm)
		}
	}
	return made, len(made.algorithms) > 0
}
