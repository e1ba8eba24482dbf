package authentication

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/secret"
)

const (
	// TokenPrefix begins every static token, so that secret scanners find leaked tokens.
	TokenPrefix = "amb_"
	// tokenBytes is the number of random bytes in a static token. The random bytes follow
	// TokenPrefix, encoded in base64url without padding.
	tokenBytes = 32
)

// tokenLength is the length of a static token in bytes.
var tokenLength = len(TokenPrefix) + base64.RawURLEncoding.EncodedLen(tokenBytes)

// GenerateToken returns a new static token.
func GenerateToken() secret.Text {
	random := make([]byte, tokenBytes)
	_, _ = rand.Read(random) // rand.Read never fails
	return secret.New(TokenPrefix + base64.RawURLEncoding.EncodeToString(random))
}

// TokenHash is the SHA-256 of a static token. The hash reveals nothing about the token, which has
// 256 random bits.
type TokenHash [sha256.Size]byte

// HashToken returns the hash of a static token.
func HashToken(token secret.Text) TokenHash { return sha256.Sum256([]byte(token.Reveal())) }

// String returns the hash in lower-case hexadecimal digits.
func (h TokenHash) String() string { return hex.EncodeToString(h[:]) }

var errNoHash = errors.New("must be a SHA-256 in 64 lower-case hexadecimal digits, as 'broker token new' prints it")

// ParseTokenHash parses a hash as String returns it. The error does not quote the text.
func ParseTokenHash(text string) (TokenHash, error) {
	digits, err := hex.DecodeString(text)
	if err != nil || len(digits) != sha256.Size || text != strings.ToLower(text) {
		return TokenHash{}, errNoHash
	}
	return TokenHash(digits), nil
}

// StaticToken is an entry of the configuration: the name of a caller, and the hash of the token
// that identifies it.
type StaticToken struct {
	// Name is the name of the caller without the prefix `token:`.
	Name string
	Hash TokenHash
}

// StaticTokens identifies callers by static tokens. The name of such a caller is `token:NAME`.
type StaticTokens map[TokenHash]string // the names of callers, by the hashes of their tokens

// NewStaticTokens returns an authenticator that accepts the given tokens.
func NewStaticTokens(tokens ...StaticToken) StaticTokens {
	names := make(StaticTokens, len(tokens))
	for _, token := range tokens {
		names[token.Hash] = "token:" + token.Name
	}
	return names
}

// Authenticate implements Authenticator. The duration of the look-up reveals nothing about the
// known tokens, because it depends only on the hash of the token that the caller sent. The caller
// cannot choose this hash.
func (s StaticTokens) Authenticate(_ context.Context, evidence Evidence) (access.Caller, error) {
	text := evidence.Bearer.Reveal()
	if len(s) == 0 || !strings.HasPrefix(text, TokenPrefix) {
		return access.Caller{}, ErrNoEvidence
	}
	if len(text) < tokenLength {
		return access.Caller{}, refused("the static token is too short: create one with 'broker token new'")
	}
	name, ok := s[HashToken(evidence.Bearer)]
	if !ok {
		return access.Caller{}, refused("the static token is unknown")
	}
	return access.Caller{Name: name}, nil
}
