package fleetkeys

import (
	"bytes"
	"errors"
)

// Open returns these errors.
var (
	// ErrUnknownFormat means that another version of the broker encrypted the entry, or that the
	// data is not an encrypted entry.
	ErrUnknownFormat = errors.New("encrypted in an unknown format")
	// ErrUnknownKey means that the ring lacks the fleet key that encrypted the entry.
	ErrUnknownKey = errors.New("encrypted with an unknown fleet key")
	// ErrDamaged means that the entry was changed or truncated, or was encrypted for another
	// context.
	ErrDamaged = errors.New("damaged, or encrypted for another entry")
)

// An encrypted entry consists of a header (the format and the ID of the fleet key), the nonce, and
// the ciphertext with its authentication tag.
const (
	format     = 1
	idSize     = 4 // size of a key ID in bytes
	headerSize = 1 + idSize
)

// Header returns the first bytes of each entry that the method Seal encrypts with the first fleet
// key: the format and the ID of the key. The header is not secret.
func (r *Ring) Header() []byte { return append([]byte{format}, r.keys()[0].id...) }

// Seal encrypts and authenticates data with AES-256-GCM, the first fleet key and a random nonce.
// Only Open with the same context decrypts the result, which is 33 bytes longer than the data.
func (r *Ring) Seal(context string, plain []byte) []byte {
	key := r.keys()[0]
	header := r.Header()
	data := additionalData(header, context)
	return key.sealing.Seal(header, nil, plain, data) //nolint:gosec // the cipher makes a random nonce itself
}

// Open decrypts an entry that Seal encrypted in any replica whose first fleet key is in this ring.
// The error is ErrUnknownFormat, ErrUnknownKey or ErrDamaged.
func (r *Ring) Open(context string, sealed []byte) ([]byte, error) {
	switch {
	case len(sealed) == 0:
		return nil, ErrDamaged
	case sealed[0] != format:
		return nil, ErrUnknownFormat
	case len(sealed) < headerSize:
		return nil, ErrDamaged
	}
	header, body := sealed[:headerSize], sealed[headerSize:]
	reason := ErrUnknownKey
	for _, key := range r.keys() {
		if !bytes.Equal(key.id, header[1:]) {
			continue
		}
		plain, err := key.sealing.Open(nil, nil, body, additionalData(header, context))
		if err == nil {
			return plain, nil
		}
		reason = ErrDamaged // another key with the same ID may still decrypt the entry
	}
	return nil, reason
}

// additionalData returns the data of an entry that is authenticated but not encrypted.
func additionalData(header []byte, context string) []byte {
	return append(bytes.Clone(header), context...)
}
