package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/authmaterial/broker/internal/secret"
)

// Encrypted data is bound to one of these purposes. Never change these strings, because stored data
// could not be decrypted any more.
const (
	forValues     = "authmaterial store v1 values"
	forDataKey    = "authmaterial store v1 data key"
	forRequestKey = "authmaterial store v1 request key"

	forRefreshToken = "authmaterial store v1 refresh token"
)

const (
	keySize = 32 // the size in bytes of a key for AES-256 or HMAC-SHA-256

	// sealedFormat is the first byte of encrypted values. This format is a JSON object with one
	// base64 value for each field, encrypted by AES-256-GCM with a random nonce.
	sealedFormat = 1
)

// `bound` returns an unambiguous encoding of everything to which the encrypted data of a version is
// bound. If any of this changes, the data can no longer be decrypted.
func (s *Store) bound(purpose string, c *Credential, v *Version) (string, error) {
	hosts, public := v.AllowedHosts, v.PublicValues
	if hosts == nil {
		hosts = []string{}
	}
	if public == nil {
		public = map[string]string{}
	}
	data, err := json.Marshal([]any{purpose, s.id, c.ID, v.Number, v.ID, c.Provider, c.AuthMethod, hosts, public})
	return string(data), err
}

func requestKeyContext(storeID string) string {
	data, _ := json.Marshal([]string{forRequestKey, storeID}) // strings can always be encoded
	return string(data)
}

// seal encrypts values with a new data key, and sets Sealed and DataKey of the version.
func (s *Store) seal(c *Credential, v *Version, values map[string]secret.Text) error {
	plain := map[string][]byte{}
	for field, value := range values {
		plain[field] = []byte(value.Reveal())
	}
	data, err := json.Marshal(plain)
	if err != nil {
		return err
	}
	key := randomKey()
	cipher, err := newCipher(key)
	if err != nil {
		return err
	}
	boundValues, err := s.bound(forValues, c, v)
	if err != nil {
		return err
	}
	boundKey, err := s.bound(forDataKey, c, v)
	if err != nil {
		return err
	}
	v.Sealed = cipher.Seal([]byte{sealedFormat}, nil, data, []byte(boundValues)) //nolint:gosec // the cipher makes a random nonce itself
	v.DataKey = s.keys.Seal(boundKey, key)
	return nil
}

// Values decrypts the values of the secret fields of v, which must be a version of c, and must have
// its encrypted values. Values does not use the database.
//
// Values can return ErrDestroyed, ErrUnknownKey, ErrUnknownFormat and ErrDamaged. Values returns
// ErrDamaged if the encrypted values were changed, or if anything was changed that is authenticated
// together with them: the IDs of the store, the credential and the version, the version's number,
// the provider, the auth method, the allowed hosts and the public values.
func (s *Store) Values(c *Credential, v *Version) (map[string]secret.Text, error) {
	plain, err := s.decrypt(c, v)
	if err != nil {
		return nil, fmt.Errorf("decrypt version %d of %s: %w", v.Number, c.ID, err)
	}
	values := make(map[string]secret.Text, len(plain))
	for field, value := range plain {
		values[field] = secret.New(string(value))
	}
	return values, nil
}

func (s *Store) decrypt(c *Credential, v *Version) (plain map[string][]byte, err error) {
	if !v.DestroyTime.IsZero() {
		return nil, ErrDestroyed
	}
	key, err := s.dataKey(c, v)
	if err != nil {
		return nil, err
	}
	if len(v.Sealed) == 0 {
		return nil, ErrDamaged
	}
	if v.Sealed[0] != sealedFormat {
		return nil, ErrUnknownFormat
	}
	cipher, err := newCipher(key)
	if err != nil {
		return nil, ErrDamaged
	}
	bound, err := s.bound(forValues, c, v)
	if err != nil {
		return nil, err
	}
	data, err := cipher.Open(nil, nil, v.Sealed[1:], []byte(bound))
	if err != nil || json.Unmarshal(data, &plain) != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// dataKey decrypts the data key of a version.
func (s *Store) dataKey(c *Credential, v *Version) ([]byte, error) {
	bound, err := s.bound(forDataKey, c, v)
	if err != nil {
		return nil, err
	}
	return s.open(bound, v.DataKey)
}

func newCipher(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func randomKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // rand.Read never fails
	return key
}
