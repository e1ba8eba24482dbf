package authentication_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
)

func TestGenerateToken(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		token := authentication.GenerateToken().Reveal()
		random, found := strings.CutPrefix(token, "amb_")
		data, err := base64.RawURLEncoding.Strict().DecodeString(random)
		if !found || err != nil || len(data) != 32 {
			t.Fatalf("%q is not amb_ with 32 bytes in base64url", token)
		}
		if seen[token] {
			t.Fatal("two tokens are equal")
		}
		seen[token] = true
		if bearer := authentication.ParseBearer([]string{"Bearer " + token}); bearer.Reveal() != token {
			t.Errorf("%q is not a bearer token", token)
		}
	}
}

func TestTokenHash(t *testing.T) {
	token := authentication.GenerateToken()
	hash := authentication.HashToken(token)
	sum := sha256.Sum256([]byte(token.Reveal()))
	if want := hex.EncodeToString(sum[:]); hash.String() != want {
		t.Errorf("the hash is %s, want %s", hash, want)
	}
	if again, err := authentication.ParseTokenHash(hash.String()); err != nil || again != hash {
		t.Errorf("the hash is parsed as %s (%v), want %s", again, err, hash)
	}
	for _, text := range []string{"", token.Reveal(), hash.String()[1:], hash.String() + "0", strings.ToUpper(hash.String()), strings.Repeat("g", 64)} {
		if got, err := authentication.ParseTokenHash(text); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the text %q is parsed as the hash %s (%v), want an error", text, got, err)
		}
	}
}

const tooShort = "the static token is too short: create one with 'broker token new'"

// TestShortTokens checks that a token that is too short is refused even if the configuration lists
// its hash.
func TestShortTokens(t *testing.T) {
	made := secret.New(authentication.GenerateToken().Reveal()[:46])
	tokens := authentication.NewStaticTokens(authentication.StaticToken{Name: "short", Hash: authentication.HashToken(made)})
	_, err := tokens.Authenticate(t.Context(), authentication.Evidence{Bearer: made})
	wantRefused(t, err, fault.CallerUnauthenticated, tooShort)
}

func TestStaticTokens(t *testing.T) {
	first, second, unknown := authentication.GenerateToken(), authentication.GenerateToken(), authentication.GenerateToken()
	tokens := authentication.NewStaticTokens(
		authentication.StaticToken{Name: "first", Hash: authentication.HashToken(first)},
		authentication.StaticToken{Name: "second", Hash: authentication.HashToken(second)})
	for token, name := range map[secret.Text]string{first: "token:first", second: "token:second"} {
		caller, err := tokens.Authenticate(t.Context(), authentication.Evidence{Bearer: token})
		if err != nil || !reflect.DeepEqual(caller, access.Caller{Name: name}) {
			t.Errorf("the caller is %+v (%v), want %s", caller, err, name)
		}
	}
	for _, text := range []string{unknown.Reveal(), first.Reveal() + "a", "amb_" + authentication.HashToken(first).String()} {
		_, err := tokens.Authenticate(t.Context(), authentication.Evidence{Bearer: secret.New(text)})
		wantRefused(t, err, fault.CallerUnauthenticated, "the static token is unknown")
	}
	for _, text := range []string{"amb_", first.Reveal()[:46]} {
		_, err := tokens.Authenticate(t.Context(), authentication.Evidence{Bearer: secret.New(text)})
		wantRefused(t, err, fault.CallerUnauthenticated, tooShort)
	}
	if _, err := authentication.NewStaticTokens().Authenticate(t.Context(), authentication.Evidence{Bearer: first}); !errors.Is(err, authentication.ErrNoEvidence) {
		t.Errorf("without configured tokens, the error is %v, want ErrNoEvidence", err)
	}
	for _, text := range []string{"", malformed, mint(keyES, nil, nil), strings.TrimPrefix(first.Reveal(), "amb_")} {
		if _, err := tokens.Authenticate(t.Context(), authentication.Evidence{Bearer: secret.New(text)}); !errors.Is(err, authentication.ErrNoEvidence) {
			t.Errorf("the error for %q is %v, want ErrNoEvidence", text, err)
		}
	}
}
