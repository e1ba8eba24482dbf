package oidctest_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// errUnknown is the error of an unknown client, secret, key or token.
var errUnknown = errors.New("unknown")

// tokenLifetime is the lifetime of access tokens.
const tokenLifetime = 10 * time.Minute

// storage has the clients and tokens of an authorization server. Methods of op.Storage that it lacks
// panic: the tests do not reach them.
type storage struct {
	op.Storage

	secrets map[string]string           // by client ID
	keys    map[string]crypto.PublicKey // by client ID; the ID of each key is k1

	signer crypto.Signer // an RSA key

	mu      sync.Mutex
	access  []string // the IDs of the access tokens
	refresh string   // the only refresh token that is valid
	used    []string // earlier refresh tokens
	issued  int
}

func (*storage) Health(context.Context) error { return nil }

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if _, known := s.secrets[id]; known {
		return client{id: id, method: oidc.AuthMethodPost}, nil
	}
	if s.keys[id] != nil {
		return client{id: id, method: oidc.AuthMethodPrivateKeyJWT}, nil
	}
	return nil, errUnknown
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if known, found := s.secrets[id]; !found || known != secret {
		return errUnknown
	}
	return nil
}

func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, oidc.ErrInvalidClient().WithParent(err)
	}
	return s.GetClientByClientID(ctx, id)
}

func (s *storage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Scopes: scopes}, nil
}

func (s *storage) GetKeyByIDAndClientID(_ context.Context, keyID, clientID string) (*jose.JSONWebKey, error) {
	if key := s.keys[clientID]; key != nil && keyID == "k1" {
		return &jose.JSONWebKey{KeyID: keyID, Use: "sig", Key: key}, nil
	}
	return nil, errUnknown
}

func (s *storage) ValidateJWTProfileScopes(_ context.Context, _ string, scopes []string) ([]string, error) {
	return scopes, nil
}

func (s *storage) CreateAccessToken(context.Context, op.TokenRequest) (id string, expires time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newAccess(), time.Now().Add(tokenLifetime), nil
}

func (s *storage) newAccess() string {
	s.issued++
	id := fmt.Sprintf("access-%d", s.issued)
	s.access = append(s.access, id)
	return id
}

// CreateAccessAndRefreshTokens ends the refresh token with which the request was made.
func (s *storage) CreateAccessAndRefreshTokens(
	_ context.Context, _ op.TokenRequest, current string,
) (id, refresh string, expires time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if current != s.refresh {
		return "", "", time.Time{}, op.ErrInvalidRefreshToken
	}
	s.used = append(s.used, current)
	id = s.newAccess()
	s.refresh = "refresh-" + id
	return id, s.refresh, time.Now().Add(tokenLifetime), nil
}

func (s *storage) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token != s.refresh {
		return nil, op.ErrInvalidRefreshToken
	}
	return refreshRequest{}, nil
}

func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, id, subject, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.access, id) {
		return errUnknown
	}
	info.Subject = subject
	return nil
}

// SigningKey returns the key of the ID token that the server issues with each refresh.
func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	return signingKey{s.signer}, nil
}

func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

type signingKey struct{ key crypto.Signer }

func (signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Key() any                                  { return k.key }
func (signingKey) ID() string                                  { return "id" }

// refreshRequest is what the person granted who obtained the first refresh token.
type refreshRequest struct{ op.RefreshTokenRequest }

func (refreshRequest) GetAudience() []string     { return nil }
func (refreshRequest) GetAMR() []string          { return nil }
func (refreshRequest) GetAuthTime() time.Time    { return time.Now() }
func (refreshRequest) GetClientID() string       { return "refresher" }
func (refreshRequest) GetScopes() []string       { return []string{oidc.ScopeOfflineAccess} }
func (refreshRequest) GetSubject() string        { return "ann" }
func (refreshRequest) SetCurrentScopes([]string) {}

// client is a client of the authorization server.
type client struct {
	op.Client

	id     string
	method oidc.AuthMethod
}

func (c client) GetID() string                      { return c.id }
func (c client) AuthMethod() oidc.AuthMethod        { return c.method }
func (client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (client) ClockSkew() time.Duration             { return 0 }
func (client) IDTokenLifetime() time.Duration       { return tokenLifetime }
func (client) IDTokenUserinfoClaimsAssertion() bool { return false }
func (client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}
func (client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials, oidc.GrantTypeRefreshToken, oidc.GrantTypeBearer}
}
