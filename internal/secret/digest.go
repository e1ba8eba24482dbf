package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
)

// Digest returns the HMAC-SHA-256 of several parts, where each part is prefixed with its length.
// Different lists of parts have different digests. Without the key, nobody can check whether
// guessed parts have a given digest.
func Digest(key []byte, parts ...string) []byte {
	sum := hmac.New(sha256.New, key)
	var size [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		_, _ = sum.Write(size[:]) // a hash never returns an error
		_, _ = io.WriteString(sum, part)
	}
	return sum.Sum(nil)
}
