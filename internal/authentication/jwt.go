package authentication

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jonboulle/clockwork"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/clock"
)

// Issuer is an issuer of JSON Web Tokens that identify callers.
type Issuer struct {
	// Name is the middle part of the names of the issuer's callers, `jwt:NAME:SUBJECT`. Name
	// contains no colon.
	Name string
	// Issuer is the value of the claim "iss" in the issuer's tokens. Several issuers, such as
	// Kubernetes clusters, may have the same value; then only their keys distinguish them.
	Issuer string
	// Audiences are the accepted audiences: the claim "aud" of a token must contain at least one of
	// the Audiences. Audiences must not be empty.
	Audiences []string
	// Algorithms are the accepted signature algorithms. If the list is empty, all algorithms that
	// the function Algorithms returns are accepted.
	Algorithms []string
	// GroupsClaim is the name of the claim that contains the names of the caller's groups. The
	// value of this claim is a string or a list of strings. If GroupsClaim is empty, callers have
	// no groups.
	GroupsClaim string
	// Keys are the issuer's keys from a file. If Keys is nil, the keys are fetched from URL.
	Keys *Keys
	// URL is the URL of a JSON Web Key Set. CheckKeyURL must return no error for it. RootCAs are
	// the authorities that may sign the certificate of the server at URL. If RootCAs is nil, the
	// authorities that the system trusts may sign it.
	URL     string
	RootCAs *x509.CertPool
	// AllowPrivate allows private, local and special addresses for the host of URL.
	AllowPrivate bool

	remote *remoteKeys // the keys from URL, set by KeyFetcher.Prepare
}

// leeway is the maximum difference between the clocks of an issuer and of the broker.
const leeway = 30 * time.Second

// Issuers is an Authenticator that accepts the JSON Web Tokens of several issuers. A token is
// verified at its first use, and again after its issuer's keys have changed. KeyFetcher.Prepare
// creates Issuers.
type Issuers struct {
	clock    clockwork.Clock
	byClaim  map[string][]*Issuer // by claim "iss"
	fetching []*remoteKeys
	verified *lru.Cache[tokenDigest, verifiedToken]
}

// tokenDigest is the SHA-256 of a token.
type tokenDigest [sha256.Size]byte

type verifiedToken struct {
	caller access.Caller
	issuer *Issuer // the issuer whose key signed the token, or nil if there is no such issuer
	keys   *Keys   // the issuer's keys when the token was verified
}

// Authenticate implements Authenticator.
func (s *Issuers) Authenticate(ctx context.Context, evidence Evidence) (access.Caller, error) {
	text := evidence.Bearer.Reveal()
	if text == "" || strings.HasPrefix(text, TokenPrefix) || len(s.byClaim) == 0 {
		return access.Caller{}, ErrNoEvidence
	}
	digest := tokenDigest(sha256.Sum256([]byte(text)))
	now := clock.WallNow(s.clock)
	known, found := s.verified.Get(digest)
	if found && known.keys == known.issuer.keys() && now.Before(known.caller.ExpireTime) {
		return known.caller, nil
	}
	token, err := parseToken(text)
	if err != nil {
		return access.Caller{}, err
	}
	token.digest, token.proved = digest, found || evidence.Proved
	if known, err = s.verify(ctx, token, now); err == nil {
		s.verified.Add(digest, known)
	}
	return known.caller, err
}

type bearerToken struct {
	text      string
	digest    tokenDigest
	proved    bool // whether the token was accepted before; if so, and its key is missing now, the issuer has withdrawn the key
	algorithm jwa.SignatureAlgorithm
	keyID     string // may be empty
	issuer    string // the claim "iss"
}

func parseToken(text string) (bearerToken, error) {
	if len(text) > maxBearer {
		return bearerToken{}, refused("the bearer token is too long")
	}
	message, err := jws.ParseString(text, jws.WithCompact())
	if err != nil || len(message.Signatures()) != 1 {
		return bearerToken{}, refused("the bearer token is not a signed JSON Web Token")
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(message.Payload(), &claims) != nil {
		return bearerToken{}, refused("the bearer token is not a signed JSON Web Token")
	}
	token := bearerToken{text: text, issuer: claims.Issuer}
	header := message.Signatures()[0].ProtectedHeaders()
	token.algorithm, _ = header.Algorithm()
	token.keyID, _ = header.KeyID()
	return token, nil
}

// verify returns the caller of a token. The issuers that have the token's key are tried first, so
// that the keys of other issuers are not fetched unnecessarily.
func (s *Issuers) verify(ctx context.Context, token bearerToken, now time.Time) (verifiedToken, error) {
	var ready, lacking []*Issuer
	for _, candidate := range s.byClaim[token.issuer] {
		if candidate.lacksKey(token) {
			lacking = append(lacking, candidate)
		} else {
			ready = append(ready, candidate)
		}
	}
	found := refused("the bearer token has an issuer that is not accepted")
	for _, candidate := range append(ready, lacking...) {
		outcome, err := candidate.verify(ctx, token, now)
		if outcome.issuer != nil {
			return outcome, err
		}
		if rank(err) >= rank(found) {
			found = err
		}
	}
	return verifiedToken{}, found
}

// keys returns the issuer's current keys, or nil if the issuer has no keys yet, or if they are too
// old.
func (i *Issuer) keys() *Keys {
	if i.remote != nil {
		return i.remote.keys()
	}
	return i.Keys
}

func (i *Issuer) accepts(algorithm jwa.SignatureAlgorithm) bool {
	accepted := i.Algorithms
	if len(accepted) == 0 {
		accepted = Algorithms()
	}
	return slices.Contains(accepted, algorithm.String())
}

// lacksKey reports whether the issuer's keys must be fetched before a token can be verified.
func (i *Issuer) lacksKey(token bearerToken) bool {
	return i.remote != nil && i.accepts(token.algorithm) && !i.keys().has(token)
}

// verify returns the caller of a token. If one of the issuer's keys signed the token, the result
// has an issuer, even if the token's claims are not accepted.
func (i *Issuer) verify(ctx context.Context, token bearerToken, now time.Time) (verifiedToken, error) {
	if !i.accepts(token.algorithm) {
		return verifiedToken{}, refused("the bearer token is signed with an algorithm that is not accepted")
	}
	if i.lacksKey(token) {
		err := i.remote.refresh(ctx, token.digest)
		switch notNew := token.proved || token.keyID == ""; {
		case err == nil, !i.lacksKey(token):
		case errors.Is(err, ErrKeyRefreshThrottled) && notNew:
		default:
			return verifiedToken{}, err
		}
	}
	keys := i.keys()
	if !keys.has(token) {
		return verifiedToken{}, refused("the bearer token is signed with an unknown key")
	}
	for _, candidate := range keys.find(token) {
		claims, err := jwt.ParseString(token.text, jwt.WithKey(token.algorithm, candidate.public), jwt.WithValidate(false))
		if err == nil {
			caller, err := i.caller(claims, now)
			return verifiedToken{caller: caller, issuer: i, keys: keys}, err
		}
	}
	return verifiedToken{}, refused("the signature of the bearer token is wrong")
}

// The method caller checks the claims of a token whose signature was verified, and returns the
// caller that the claims identify.
func (i *Issuer) caller(claims jwt.Token, now time.Time) (access.Caller, error) {
	err := jwt.Validate(claims,
		jwt.WithClock(jwt.ClockFunc(func() time.Time { return now })),
		jwt.WithAcceptableSkew(leeway),
		jwt.WithIssuer(i.Issuer),
		jwt.WithRequiredClaim(jwt.ExpirationKey))
	accepted := func(audience string) bool { return slices.Contains(i.Audiences, audience) }
	audiences, _ := claims.Audience()
	subject, _ := claims.Subject()
	switch {
	case errors.Is(err, jwt.TokenExpiredError()):
		return access.Caller{}, refused("the bearer token has expired")
	case errors.Is(err, jwt.TokenNotYetValidError()), errors.Is(err, jwt.InvalidIssuedAtError()):
		return access.Caller{}, refused("the bearer token is not valid yet")
	case err != nil:
		return access.Caller{}, refused("the bearer token lacks a required claim, or has one that is not accepted")
	case !slices.ContainsFunc(audiences, accepted):
		return access.Caller{}, refused("the bearer token is for another audience")
	case !IsName(subject):
		return access.Caller{}, refused("the claim sub of the bearer token is missing, or cannot be a caller's name")
	}
	expires, _ := claims.Expiration()
	return access.Caller{
		Name: "jwt:" + i.Name + ":" + subject, Groups: i.groups(claims), ExpireTime: expires.Add(leeway),
	}, nil
}
