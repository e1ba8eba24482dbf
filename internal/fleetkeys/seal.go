package fleetkeys

import (
	"bytes"
	"errors"
)

// The errors that Open returns.
var (
	// ErrUnknownFormat means that another version of the broker encrypted the entry, or that the
	// data is not an encrypted entry.
	ErrUnknownFormat = errors.New("encrypted in an unknown format")
	// ErrUnknownKey means that the ring lacks the fleet key that encrypted the entry.
	ErrUnknownKey = errors.New("encrypted with an unknown fleet key")
	// ErrDamaged means that the entry was changed, truncated, or encrypted for another context.
	ErrDamaged = errors.New("damaged, or encrypted for another entry")
)

// An encrypted entry consists of a header (format and ID of the fleet key), the nonce, and the
// ciphertext with its authentication tag.
const (
	format     = 1
	idSize     = 4 // bytes
	headerSize = 1 + idSize
)

// Seal encrypts and authenticates plain with AES-256-GCM, the first fleet key and a random
// nonce. Open must be called with the same context. The result is 33 bytes longer than plain.
func (r *Ring) Seal(context string, plain []byte) []byte {
	key := r.keys()[0]
	header := append([]byte{format}, key.id...)
	data := additionalData(header, context)
	return key.sealing.Seal(header, nil, plain, data) //nolint:gosec // Seal makes a random nonce itself
}

// Open decrypts a result of Seal. The result may come from any replica whose first fleet key is
// in this ring. The error is ErrUnknownFormat, ErrUnknownKey or ErrDamaged.
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
		reason = ErrDamaged // the error unless another key with the same ID decrypts the entry
	}
	return nil, reason
}

// additionalData returns the data that is authenticated, but not encrypted, with an entry.
func additionalData(header []byte, context string) []byte {
	return append(bytes.Clone(header), context...)
}
