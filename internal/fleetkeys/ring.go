package fleetkeys

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/authmaterial/broker/internal/secret"
)

// The labels for deriving subkeys. Replicas and stored entries depend on these texts: never
// change them.
const (
	forID          = "authmaterial v1 key id"
	forSealing     = "authmaterial v1 seal"
	forNames       = "authmaterial v1 name"
	forFingerprint = "authmaterial v1 fingerprint"
	forVersions    = "authmaterial v1 version"
)

const (
	subkeySize = 32 // bytes of a key for AES-256 or HMAC-SHA-256
	nameSize   = 16 // bytes of a name and of a fingerprint
)

// Ring is the list of fleet keys of one replica. The first key encrypts entries, and makes names
// and fingerprints. The replica also recognises entries, names and fingerprints that were made
// with the other keys. A Ring is immutable, safe for concurrent use, and prints as [REDACTED].
type Ring struct {
	// keys returns the subkeys of each fleet key. It is a function because some verbs of fmt
	// follow pointers and print unexported fields without calling the Format method of the
	// fields.
	keys func() []*subkeys
}

// subkeys are derived from one fleet key.
type subkeys struct {
	id          []byte // idSize bytes; not secret
	sealing     cipher.AEAD
	names       []byte
	fingerprint []byte
	versions    []byte
}

// NewRing returns a ring of one or more different keys.
func NewRing(keys ...Key) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("a ring needs at least one fleet key")
	}
	all := make([]*subkeys, len(keys))
	for i, key := range keys {
		if key == (Key{}) {
			return nil, errors.New("a fleet key is empty")
		}
		if slices.ContainsFunc(keys[:i], key.Equal) {
			return nil, errors.New("duplicate fleet key")
		}
		var err error
		if all[i], err = derive(key); err != nil {
			return nil, err
		}
	}
	return &Ring{keys: func() []*subkeys { return all }}, nil
}

// RandomRing returns a ring with one new key, for a process that shares nothing with other
// replicas.
func RandomRing() *Ring {
	ring, err := NewRing(Key{secret.New(string(generate()))})
	if err != nil {
		panic(err) // one random key is neither empty nor a duplicate
	}
	return ring
}

// derive computes the subkeys of a fleet key.
func derive(key Key) (*subkeys, error) {
	var failed error
	subkey := func(purpose string, size int) []byte {
		derived, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, purpose, size)
		failed = errors.Join(failed, err)
		return derived
	}
	derived := &subkeys{
		id:          subkey(forID, idSize),
		names:       subkey(forNames, subkeySize),
		fingerprint: subkey(forFingerprint, subkeySize),
		versions:    subkey(forVersions, subkeySize),
	}
	block, err := aes.NewCipher(subkey(forSealing, subkeySize))
	if err = errors.Join(failed, err); err != nil {
		return nil, err
	}
	derived.sealing, err = cipher.NewGCMWithRandomNonce(block)
	return derived, err
}

// VersionKeys returns the HMAC keys for the versions of decorations: a key of 32 bytes for each
// fleet key, in the order of the ring.
func (r *Ring) VersionKeys() [][]byte {
	return forEach(r, func(key *subkeys) []byte { return bytes.Clone(key.versions) })
}

// Names returns the names of an entry in a store that others can read: one name for each fleet
// key, in the order of the ring. A name consists of 32 lower-case hexadecimal digits. Without
// the fleet key, nobody can check a guess of the text that the name was made from.
func (r *Ring) Names(of string) []string {
	return forEach(r, func(key *subkeys) string { return digest(key.names, of) })
}

// Fingerprints returns the fingerprints of a token for a list of rejected tokens, in the form
// and order of Names. A replica writes the first fingerprint, and recognises all of them.
func (r *Ring) Fingerprints(of string) []string {
	return forEach(r, func(key *subkeys) string { return digest(key.fingerprint, of) })
}

// forEach calls the function made for each key of a ring, and returns the results.
func forEach[T any](r *Ring, made func(*subkeys) T) []T {
	var all []T
	for _, key := range r.keys() {
		all = append(all, made(key))
	}
	return all
}

func digest(key []byte, of string) string {
	return hex.EncodeToString(secret.Digest(key, of)[:nameSize])
}

// Equal reports whether both rings have the same keys in the same order. Nil equals only nil.
func (r *Ring) Equal(other *Ring) bool {
	if r == nil || other == nil {
		return r == other
	}
	return slices.EqualFunc(r.VersionKeys(), other.VersionKeys(), bytes.Equal)
}

// Format prints [REDACTED] for every verb.
func (r *Ring) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "[REDACTED]") }
