package store

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/authmaterial/broker/internal/secret"
)

const (
	// FirstRefreshTokenField is the ID of the field whose value begins a chain of refresh tokens, if
	// the auth method rotates refresh tokens. Other auth methods may use the ID for another purpose;
	// their versions begin chains that are never used.
	FirstRefreshTokenField = "refresh_token"
	// MaxLease is the longest time for which a refresh token can be leased. A lease that seems to end
	// later is ignored, because the clock of the database was set back.
	MaxLease = time.Minute
)

// Chain identifies a chain, which consists of the refresh tokens that a provider issued one after the
// other, each in exchange for the one before.
type Chain struct {
	// CredentialID is the ID of a managed or declared credential.
	CredentialID string
	// First is the first refresh token, which is a value of the credential.
	First secret.Text
	// Recipient stands for everything in the credential that determines where refresh tokens are sent.
	// With another recipient, the first refresh token begins another chain, so that nobody who knows
	// only the first one can have later ones sent to another place. Other values of the credential may
	// change without beginning another chain.
	Recipient string
}

// RefreshToken is the current refresh token of a chain, leased to the caller.
type RefreshToken struct {
	CredentialID string
	// Chain is a keyed digest of the Chain.
	Chain string
	// Sequence is the position in the chain. The first refresh token has the position 1.
	Sequence int64
	Value    secret.Text
	// Interrupted reports that an earlier lease of this refresh token ended without a result, so that
	// the provider may have exchanged it already.
	Interrupted bool

	fence int64 // identifies the lease among the leases of the chain
}

// origin returns a keyed digest of the ID of a credential and the first refresh token.
func (s *Store) origin(credentialID string, first secret.Text) string {
	return s.digest(secret.New(credentialID), first)
}

func (s *Store) digest(parts ...secret.Text) string {
	return hex.EncodeToString(s.Fingerprint(append(parts, secret.New(forRefreshToken))...))
}

// originOf returns the origin of the chains that begin with one of the values of a version, or an empty
// text.
func (s *Store) originOf(credentialID string, values map[string]secret.Text) string {
	first, found := values[FirstRefreshTokenField]
	if !found {
		return ""
	}
	return s.origin(credentialID, first)
}

// bound returns an unambiguous encoding of everything to which the encrypted refresh token is bound.
func (t *RefreshToken) bound(storeID string) string {
	data, _ := json.Marshal([]any{forRefreshToken, storeID, t.CredentialID, t.Chain, t.Sequence}) // these types can always be encoded
	return string(data)
}

func (s *Store) sealRefreshToken(t *RefreshToken, value secret.Text) []byte {
	return s.keys.Seal(t.bound(s.id), []byte(value.Reveal()))
}

func (s *Store) openRefreshToken(t *RefreshToken, sealed []byte) error {
	plain, err := s.open(t.bound(s.id), sealed)
	if err == nil {
		t.Value = secret.New(string(plain))
	}
	return err
}
