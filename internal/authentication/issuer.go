package authentication

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/authmaterial/broker/internal/access"
)

// leeway is how far the clocks of an issuer and the broker may be apart.
const leeway = 30 * time.Second

// issuer verifies the tokens of an Issuer.
type issuer struct {
	settings   Issuer
	algorithms []string
	remote     *remoteKeys // nil: the keys are those of a file
}

func newIssuer(settings Issuer) *issuer {
	algorithms := settings.Algorithms
	if len(algorithms) == 0 {
		algorithms = Algorithms()
	}
	return &issuer{settings: settings, algorithms: algorithms}
}

// held returns the keys that are at hand; nil: none.
func (i *issuer) held() *Keys {
	if i.remote == nil {
		return i.settings.Keys
	}
	return i.remote.held()
}

// accepts reports whether tokens may be signed by an algorithm.
func (i *issuer) accepts(algorithm jwa.SignatureAlgorithm) bool {
	return slices.Contains(i.algorithms, algorithm.String())
}

// verify finds out who calls with a token, by these keys; nil: there are none. What it
// returns has an issuer if the token is from there, good or not.
func (i *issuer) verify(token string, h header, keys *Keys, now time.Time) (verified, error) {
	if !i.accepts(h.algorithm) {
		return verified{}, refused("the bearer token is signed by an algorithm that is not accepted")
	}
	if !keys.has(h) {
		return verified{}, refused("the bearer token is signed by a key that is not known")
	}
	for _, candidate := range keys.find(h.keyID, h.algorithm) {
		parsed, err := jwt.ParseString(token, jwt.WithKey(h.algorithm, candidate.public), jwt.WithValidate(false))
		if err != nil {
			continue
		}
		caller, err := i.callerOf(parsed, now)
		return verified{caller: caller, issuer: i, keys: keys}, err
	}
	return verified{}, refused("the signature of the bearer token is wrong")
}

// callerOf returns who calls with a token whose signature is good.
func (i *issuer) callerOf(token jwt.Token, now time.Time) (access.Caller, error) {
	err := jwt.Validate(token,
		jwt.WithClock(jwt.ClockFunc(func() time.Time { return now })),
		jwt.WithAcceptableSkew(leeway),
		jwt.WithIssuer(i.settings.Issuer),
		jwt.WithRequiredClaim(jwt.ExpirationKey),
		jwt.WithValidator(jwt.ValidatorFunc(i.checkAudience)))
	switch {
	case errors.Is(err, jwt.TokenExpiredError()):
		return access.Caller{}, refused("the bearer token has expired")
	case errors.Is(err, jwt.TokenNotYetValidError()), errors.Is(err, jwt.InvalidIssuedAtError()):
		return access.Caller{}, refused("the bearer token is not valid yet")
	case errors.Is(err, jwt.InvalidAudienceError()):
		return access.Caller{}, refused("the bearer token is for another audience")
	case err != nil:
		return access.Caller{}, refused("the bearer token lacks a claim, or has one that is not accepted")
	}
	subject, _ := token.Subject()
	if !isName(subject) {
		return access.Caller{}, refused("the bearer token has no subject that can be a caller's name")
	}
	expires, _ := token.Expiration()
	return access.Caller{
		Name:       "jwt:" + i.settings.Name + ":" + subject,
		Method:     MethodJWT,
		ExpireTime: expires.Add(leeway),
	}, nil
}

// checkAudience implements jwt.ValidatorFunc.
func (i *issuer) checkAudience(_ context.Context, token jwt.Token) error {
	audiences, _ := token.Audience()
	if slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(i.settings.Audiences, a) }) {
		return nil
	}
	return jwt.InvalidAudienceError()
}
