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

// These labels, from which subkeys are derived, must never change, because all replicas and all
// stored entries depend on them.
const (
	forID          = "authmaterial v1 key id"
	forSealing     = "authmaterial v1 seal"
	forNames       = "authmaterial v1 name"
	forFingerprint = "authmaterial v1 fingerprint"
	forVersions    = "authmaterial v1 version"
)

const (
	subkeySize = 32 // size in bytes of a key for AES-256 or HMAC-SHA-256
	nameSize   = 16 // size in bytes of a name or a fingerprint
)

// Ring is the list of the fleet keys of one replica. The replica encrypts entries with the first
// key, and makes names and fingerprints with it. The replica also recognises entries, names and
// fingerprints that were made with the other keys. A Ring is immutable, safe for concurrent use,
// and prints as [REDACTED].
type Ring struct {
	// keys returns the subkeys of each fleet key. The field is a function because some verbs of fmt
	// follow pointers and print unexported fields without calling their Format methods.
	keys func() []*subkeys
}

type subkeys struct {
	id          []byte // the ID of the fleet key: 4 bytes that are not secret
	sealing     cipher.AEAD
	names       []byte
	fingerprint []byte
	versions    []byte
}

// NewRing returns a ring of the given keys: at least one, and all of them different.
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
		panic(err) // cannot happen: a single random key is neither missing nor a duplicate
	}
	return ring
}

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

// Names returns the names that an entry has in a store that other parties can read: one name of 32
// lower-case hexadecimal digits for each fleet key, in the order of the ring. Without the fleet
// key, nobody can check a guess of the text from which a name was computed.
func (r *Ring) Names(of string) []string {
	return forEach(r, func(key *subkeys) string { return digest(key.names, of) })
}

// Fingerprints returns the fingerprints of a token for the list of rejected tokens: one for each
// fleet key, in the form and the order that Names uses. A replica writes the first fingerprint into
// the list. In the list, it recognises the token by any of the fingerprints.
func (r *Ring) Fingerprints(of string) []string {
	return forEach(r, func(key *subkeys) string { return digest(key.fingerprint, of) })
}

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

// Equal reports whether two rings have the same keys in the same order. Two nil rings are equal.
func (r *Ring) Equal(other *Ring) bool {
	if r == nil || other == nil {
		return r == other
	}
	return slices.EqualFunc(r.VersionKeys(), other.VersionKeys(), bytes.Equal)
}

// Format prints [REDACTED] for every verb of package fmt.
func (r *Ring) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "[REDACTED]") }
