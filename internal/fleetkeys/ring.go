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

// What each subkey is for. A change of one is a change of everything that was made
// with it.
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

// Ring is the fleet keys of one replica. The first key makes; whatever any of them made
// is recognised. It is not changed once made, and safe for concurrent use. It prints as
// [REDACTED].
type Ring struct {
	// keys returns what was derived, of at least one key. It is a function because fmt
	// follows pointers under some verbs, and asks unexported fields for no Formatter.
	keys func() []*subkeys
}

// subkeys are what comes from one fleet key.
type subkeys struct {
	id          []byte // idSize bytes; public
	sealing     cipher.AEAD
	names       []byte
	fingerprint []byte
	versions    []byte
}

// NewRing returns the ring of at least one key, and none twice.
func NewRing(keys ...Key) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("a ring has at least one fleet key")
	}
	var all []*subkeys
	for i, key := range keys {
		if key.Equal(Key{}) {
			return nil, errors.New("a fleet key is empty")
		}
		if slices.ContainsFunc(keys[:i], key.Equal) {
			return nil, errors.New("a fleet key stands twice")
		}
		derived, err := derive(key)
		if err != nil {
			return nil, err
		}
		all = append(all, derived)
	}
	return &Ring{keys: func() []*subkeys { return all }}, nil
}

// RandomRing returns the ring of one new key, for a process that shares nothing.
func RandomRing() *Ring {
	ring, err := NewRing(Key{secret.New(string(generate()))})
	if err != nil {
		panic(err) // one key is not too few, and not there twice
	}
	return ring
}

// derive computes the subkeys of a key.
func derive(key Key) (*subkeys, error) {
	var failed error
	subkey := func(purpose string, size int) []byte {
		derived, err := hkdf.Key(sha256.New, []byte(key.text.Reveal()), nil, purpose, size)
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

// VersionKeys returns the keys of HMACs that are the versions of decorations, 32 bytes
// for each fleet key, that of the first key first.
func (r *Ring) VersionKeys() [][]byte {
	all := r.keys()
	keys := make([][]byte, len(all))
	for i, key := range all {
		keys[i] = bytes.Clone(key.versions)
	}
	return keys
}

// Names returns what a string is called where others can read names: one for each fleet
// key, that of the first key first. A name is 32 lower-case hexadecimal digits; without
// the fleet key nobody can test a guess.
func (r *Ring) Names(of string) []string {
	all := r.keys()
	names := make([]string, len(all))
	for i, key := range all {
		names[i] = digest(key.names, of)
	}
	return names
}

// Fingerprints returns what a token is called in a list of rejected ones, in the form and
// order of Names. The first stands in a list that this replica writes; any of them may
// stand in one that it reads.
func (r *Ring) Fingerprints(of string) []string {
	all := r.keys()
	fingerprints := make([]string, len(all))
	for i, key := range all {
		fingerprints[i] = digest(key.fingerprint, of)
	}
	return fingerprints
}

func digest(key []byte, of string) string {
	return hex.EncodeToString(secret.Digest(key, of)[:nameSize])
}

// Equal reports whether both are of the same keys in the same order. No ring, which is nil,
// equals no ring.
func (r *Ring) Equal(other *Ring) bool {
	if r == nil || other == nil {
		return r == other
	}
	return slices.EqualFunc(r.keys(), other.keys(), func(a, b *subkeys) bool {
		return bytes.Equal(a.versions, b.versions)
	})
}

// Format prints [REDACTED], whatever the verb.
func (r *Ring) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }
