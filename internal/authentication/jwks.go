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

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// The algorithms by type of key. There is no symmetric one, and not "none".
var (
	rsaAlgorithms = []jwa.SignatureAlgorithm{jwa.RS256(), jwa.RS384(), jwa.RS512(), jwa.PS256(), jwa.PS384(), jwa.PS512()}
	ecAlgorithms  = map[string]jwa.SignatureAlgorithm{"P-256": jwa.ES256(), "P-384": jwa.ES384(), "P-521": jwa.ES512()}
	edAlgorithm   = jwa.EdDSA()
)

// Algorithms returns the names of the signature algorithms that an issuer may use.
func Algorithms() []string {
	var names []string
	for _, algorithm := range rsaAlgorithms {
		names = append(names, algorithm.String())
	}
	return append(names, jwa.ES256().String(), jwa.ES384().String(), jwa.ES512().String(), edAlgorithm.String())
}

// Keys are the public keys of an issuer.
type Keys struct {
	keys         []key
	ignored      []string // the first maxIgnored
	ignoredCount int
}

// key is one of them.
type key struct {
	id         string // may be empty
	algorithms []jwa.SignatureAlgorithm
	public     any // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// find returns the keys that a token with this key ID and algorithm can be signed with. One
// without a key ID has to fit one key alone.
func (k *Keys) find(id string, algorithm jwa.SignatureAlgorithm) []key {
	var fitting []key
	for _, candidate := range k.keys {
		if (id == "" || candidate.id == id) && slices.Contains(candidate.algorithms, algorithm) {
			fitting = append(fitting, candidate)
		}
	}
	if id == "" && len(fitting) > 1 {
		return nil
	}
	return fitting
}

// Ignored returns how many of the set's keys are not used although they are not for encryption:
// such as those of an unknown type, and those that are malformed. The places are where the
// first maxIgnored of them are in the set, with their key IDs.
func (k *Keys) Ignored() (places []string, count int) { return k.ignored, k.ignoredCount }

// Empty reports whether there are none, so that no token counts.
func (k *Keys) Empty() bool { return len(k.keys) == 0 }

// has reports whether there is a key for a token. Nil has none.
func (k *Keys) has(h header) bool { return k != nil && len(k.find(h.keyID, h.algorithm)) > 0 }

// The errors of ParseKeys.
var (
	errNoKeySet = errors.New("holds no JSON Web Key Set")
	errManyKeys = fmt.Errorf("holds more than %d keys: remove those that sign no tokens", maxKeys)
	errNoKey    = errors.New("holds no key that a token could be verified with: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519")
	errNotPub   = errors.New("holds a private or symmetric key: whoever reads it could make tokens. Only public keys belong there")
)

// ParseKeys reads a JSON Web Key Set that the operator keeps. Keys that verify no signature are
// left out; at least one has to be left, unless the set is empty: then no token counts. The
// errors complete a sentence about what holds the set, and quote nothing.
func ParseKeys(data []byte) (*Keys, error) {
	keys, published, err := parseKeys(data)
	switch {
	case published: // also where nothing else is there
		return nil, errNotPub
	case err != nil:
		return nil, err
	}
	return keys, nil
}

// entries returns how many keys a set lists. It returns false for data without a list of keys.
func entries(data []byte) (count int, ok bool) {
	var set struct {
		Keys *[]unread `json:"keys"`
	}
	if json.Unmarshal(data, &set) != nil || set.Keys == nil {
		return 0, false
	}
	return len(*set.Keys), true
}

// unread is any JSON value; it takes no memory.
type unread struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (*unread) UnmarshalJSON([]byte) error { return nil }

// byteOrderMark is what some editors put before a text in UTF-8.
var byteOrderMark = []byte("\ufeff")

// parseKeys reads a set, and reports whether it has keys that must not be public. Those are
// left out too: whoever signs with them could be anybody. A key that is left out does not
// affect the others; errNoKey is returned if none is left of a set that is not empty.
func parseKeys(data []byte) (keys *Keys, published bool, err error) {
	data = bytes.TrimPrefix(data, byteOrderMark)
	count, isSet := entries(data)
	if count > maxKeys {
		return nil, false, errManyKeys
	}
	set, err := jwk.Parse(data, jwk.WithStrictKeySetParsing(false))
	if err != nil {
		return nil, false, errNoKeySet
	}
	if set.Len() > maxKeys { // entries takes the last list of several; the parser may not
		return nil, false, errManyKeys
	}
	keys = &Keys{}
	for i := range set.Len() {
		entry, ok := set.Key(i)
		if !ok {
			continue
		}
		if !jwk.IsUnsupportedKey(entry) {
			if private, err := jwk.IsPrivateKey(entry); err != nil || private {
				published = true
			} else if isForOthers(entry) {
				continue
			} else if made, ok := newKey(entry); ok {
				keys.keys = append(keys.keys, made)
				continue
			}
		}
		keys.ignore(i, entry)
	}
	if len(keys.keys) == 0 && (!isSet || count > 0) {
		return nil, published, errNoKey
	}
	return keys, published, nil
}

// isForOthers reports whether a supported key says that it is not for verifying signatures.
// Issuers publish keys for encryption in the same set.
func isForOthers(entry jwk.Key) bool {
	usage, ok := entry.KeyUsage()
	return ok && usage == jwk.ForEncryption.String()
}

const (
	// maxKeys is how many keys a set may have, with those that are not used.
	maxKeys = 1000
	// maxIgnored is how many of the ignored keys are named.
	maxIgnored = 10
	// maxKeyID is how much of a key ID is shown, in bytes.
	maxKeyID = 128
)

// ignore counts a key that is not used.
func (k *Keys) ignore(index int, entry jwk.Key) {
	k.ignoredCount++
	if len(k.ignored) < maxIgnored {
		k.ignored = append(k.ignored, placeOf(index, entry))
	}
}

// placeOf returns where a key is in its set, for people.
func placeOf(index int, entry jwk.Key) string {
	id, _ := entry.KeyID()
	if id == "" {
		return fmt.Sprintf("number %d", index+1)
	}
	return fmt.Sprintf("number %d, kid %.*q", index+1, maxKeyID, id)
}

// newKey returns false for a key that verifies no signature of ours.
func newKey(entry jwk.Key) (key, bool) {
	if usage, ok := entry.KeyUsage(); ok && usage != "" && usage != jwk.ForSignature.String() {
		return key{}, false
	}
	if operations, ok := entry.KeyOps(); ok && !slices.Contains(operations, jwk.KeyOpVerify) {
		return key{}, false
	}
	var made key
	if jwk.Export(entry, &made.public) != nil {
		return key{}, false
	}
	made.id, _ = entry.KeyID()
	switch public := made.public.(type) {
	case *rsa.PublicKey: // of 2048 bits or more: the parser refuses others
		made.algorithms = slices.Clone(rsaAlgorithms)
	case *ecdsa.PublicKey:
		if algorithm, ok := ecAlgorithms[public.Curve.Params().Name]; ok {
			made.algorithms = []jwa.SignatureAlgorithm{algorithm}
		}
	case ed25519.PublicKey:
		made.algorithms = []jwa.SignatureAlgorithm{edAlgorithm}
	}
	if declared, ok := entry.Algorithm(); ok {
		made.algorithms = slices.DeleteFunc(made.algorithms, func(a jwa.SignatureAlgorithm) bool { return a.String() != declared.String() })
	}
	return made, len(made.algorithms) > 0
}
