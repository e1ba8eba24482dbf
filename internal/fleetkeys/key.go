// Package fleetkeys makes what the replicas of a fleet need so that they can share
// tokens in a place that they do not trust: sealed entries, names, and keys for the
// versions of decorations. All of it comes from one or more fleet keys, which every
// replica has. It does no I/O.
package fleetkeys

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/authmaterial/broker/internal/secret"
)

// Size is how many bytes a fleet key has.
const Size = 32

// leastDistinct is how many different bytes a fleet key has at least. Of 10^15 random
// ones not one is expected to have fewer.
const leastDistinct = 16

// Key is a fleet key. It prints as [REDACTED]. The zero value is no key.
type Key struct {
	text secret.Text // the Size bytes
}

// Generate returns a new key as Parse takes it: base64 with padding, 44 characters.
func Generate() string { return base64.StdEncoding.EncodeToString(generate()) }

func generate() []byte {
	data := make([]byte, Size)
	_, _ = rand.Read(data) // it never fails
	return data
}

// Parse reads a key: Size bytes in standard base64, with padding or without. The error is
// a sentence that quotes nothing of the text. Keys that cannot be random are refused.
func Parse(text secret.Text) (Key, error) {
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(text.Reveal(), "=") {
		encoding = base64.StdEncoding
	}
	data, err := encoding.Strict().DecodeString(text.Reveal())
	switch {
	case err != nil || strings.ContainsAny(text.Reveal(), "\r\n"): // which the decoder skips
		return Key{}, errors.New("the fleet key is not standard base64: make one with 'broker keygen'")
	case len(data) != Size:
		return Key{}, fmt.Errorf("the fleet key has %d bytes, not %d: make one with 'broker keygen'", len(data), Size)
	case distinct(data) < leastDistinct:
		return Key{}, errors.New("the fleet key is not random: make one with 'broker keygen'")
	}
	return Key{secret.New(string(data))}, nil
}

// distinct counts the different bytes.
func distinct(data []byte) int {
	seen := map[byte]bool{}
	for _, b := range data {
		seen[b] = true
	}
	return len(seen)
}

// Equal reports whether both are the same key.
func (k Key) Equal(other Key) bool { return k.text.Equal(other.text) }

// Format prints [REDACTED], whatever the verb.
func (k Key) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// redacted is what a Key and a Ring print as.
const redacted = "[REDACTED]"
