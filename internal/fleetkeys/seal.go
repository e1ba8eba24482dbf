package fleetkeys

import (
	"bytes"
	"errors"
)

// Why Open fails.
var (
	// ErrUnknownFormat is for what an older or a newer broker sealed in another form, and
	// for what is no sealed entry.
	ErrUnknownFormat = errors.New("sealed in an unknown format")
	// ErrUnknownKey is for what was sealed under a fleet key that the ring does not have.
	ErrUnknownKey = errors.New("sealed under an unknown fleet key")
	// ErrDamaged is for what was changed, cut short, or sealed for another context.
	ErrDamaged = errors.New("damaged, or sealed for another place")
)

// A sealed entry is the header (the format, and the ID of the fleet key), the nonce, and
// the ciphertext with its tag.
const (
	format     = 1
	idSize     = 4 // bytes
	headerSize = 1 + idSize
)

// Seal returns plain encrypted and authenticated by AES-256-GCM under the first fleet
// key, with a random nonce. It opens only with the same context. It is 33 bytes longer
// than plain.
func (r *Ring) Seal(context string, plain []byte) []byte {
	key := r.keys()[0]
	header := append([]byte{format}, key.id...)
	return key.sealing.Seal(header, nil, plain, bound(header, context)) //nolint:gosec // it makes the nonce itself
}

// Open returns what Seal was given, by any replica that has a fleet key in common. The
// error is ErrUnknownFormat, ErrUnknownKey or ErrDamaged.
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
		plain, err := key.sealing.Open(nil, nil, body, bound(header, context))
		if err == nil {
			return plain, nil
		}
		reason = ErrDamaged // unless another key has the same ID
	}
	return nil, reason
}

// bound is what is authenticated beside the entry: the header, and what the entry is for.
func bound(header []byte, context string) []byte {
	return append(bytes.Clone(header), context...)
}
