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
	// TokenPrefix is how every static token begins. Nothing else is tried as one, and
	// whoever searches for secrets that leaked can find them by it.
	TokenPrefix = "amb_"
	// tokenBytes is how many random bytes follow, in base64url without padding.
	tokenBytes = 32
)

// tokenLength is how long a static token is.
var tokenLength = len(TokenPrefix) + base64.RawURLEncoding.EncodedLen(tokenBytes)

// TokenHash is the SHA-256 of a static token. It tells nothing of the token: nobody can
// try 2^256 of them.
type TokenHash [sha256.Size]byte

// GenerateToken returns a new static token.
func GenerateToken() secret.Text {
	random := make([]byte, tokenBytes)
	_, _ = rand.Read(random) // it never fails
	return secret.New(TokenPrefix + base64.RawURLEncoding.EncodeToString(random))
}

// HashToken returns the hash of a static token.
func HashToken(token secret.Text) TokenHash { return sha256.Sum256([]byte(token.Reveal())) }

// ParseTokenHash reads what String writes. The error quotes nothing of the text.
func ParseTokenHash(text string) (TokenHash, error) {
	var hash TokenHash
	if len(text) != hex.EncodedLen(len(hash)) || text != strings.ToLower(text) {
		return TokenHash{}, errNoHash
	}
	if _, err := hex.Decode(hash[:], []byte(text)); err != nil {
		return TokenHash{}, errNoHash
	}
	return hash, nil
}

var errNoHash = errors.New("must be a SHA-256 in 64 lower-case hexadecimal digits, as 'broker token new' prints it")

// String returns the hash in lower-case hexadecimal digits.
func (h TokenHash) String() string { return hex.EncodeToString(h[:]) }

// StaticToken is a token that a caller has for as long as the configuration says.
type StaticToken struct {
	// Name is the caller's, without its kind.
	Name string
	Hash TokenHash
}

// StaticTokens identifies callers by static tokens: `token:NAME`.
type StaticTokens struct {
	names map[TokenHash]string
}

// NewStaticTokens returns an authenticator for these tokens.
func NewStaticTokens(tokens ...StaticToken) *StaticTokens {
	s := &StaticTokens{names: make(map[TokenHash]string, len(tokens))}
	for _, token := range tokens {
		s.names[token.Hash] = "token:" + token.Name
	}
	return s
}

// Authenticate implements Authenticator. What it compares are hashes of the whole token:
// the time that takes depends on a hash which the caller cannot steer towards another,
// and so tells nothing of the tokens that there are.
func (s *StaticTokens) Authenticate(_ context.Context, evidence Evidence) (access.Caller, error) {
	text := evidence.Bearer.Reveal()
	if len(s.names) == 0 || !strings.HasPrefix(text, TokenPrefix) {
		return access.Caller{}, ErrNoEvidence
	}
	if len(text) < tokenLength {
		return access.Caller{}, refused("the static token is too short to be one: `broker token new` makes one")
	}
	name, ok := s.names[HashToken(evidence.Bearer)]
	if !ok {
		return access.Caller{}, refused("the static token is not known")
	}
	return access.Caller{Name: name, Method: MethodToken, Address: evidence.Address}, nil
}
