// Package fleetkeys lets the replicas of a fleet share tokens in a store that they do not trust.
// The package encrypts the entries of the store, computes their names, and makes the keys for the
// versions of decorations, all from one or more fleet keys that every replica knows. The package
// does no I/O.
package fleetkeys

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/authmaterial/broker/internal/secret"
)

// Size is the size of a fleet key in bytes.
const Size = 32

// minDistinct is the minimum number of different byte values in a fleet key. A random key has fewer
// with a probability below 10^-15.
const minDistinct = 16

// Key is a fleet key: a secret of 32 bytes, which prints as [REDACTED]. The zero value is not a
// valid key.
type Key struct{ secret.Text }

// Equal reports whether two fleet keys are the same.
func (k Key) Equal(other Key) bool { return k.Text.Equal(other.Text) }

// Generate returns a new key in the form that Parse reads: base64 with padding, 44 characters.
func Generate() string { return base64.StdEncoding.EncodeToString(generate()) }

func generate() []byte {
	data := make([]byte, Size)
	_, _ = rand.Read(data) // rand.Read never fails
	return data
}

// Parse reads a fleet key: 32 bytes in standard base64, with or without padding. Parse rejects keys
// that are obviously not random. The error message does not quote the key.
func Parse(text secret.Text) (Key, error) {
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(text.Reveal(), "=") {
		encoding = base64.StdEncoding
	}
	data, err := encoding.Strict().DecodeString(text.Reveal())
	distinct := map[byte]bool{}
	for _, b := range data {
		distinct[b] = true
	}
	switch {
	case err != nil || strings.ContainsAny(text.Reveal(), "\r\n"): // line breaks are rejected here, because the base64 decoder ignores them
		return Key{}, errors.New("the key is not standard base64: make one with 'broker keygen'")
	case len(data) != Size:
		return Key{}, fmt.Errorf("the key has %d bytes, not %d: make one with 'broker keygen'", len(data), Size)
	case len(distinct) < minDistinct:
		return Key{}, errors.New("the key is not random: make one with 'broker keygen'")
	}
	return Key{secret.New(string(data))}, nil
}
