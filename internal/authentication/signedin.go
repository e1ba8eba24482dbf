package authentication

import (
	"context"
	"slices"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/clock"
)

// Person is a person who has signed in to the console by OpenID Connect.
type Person struct {
	// Issuer is the name of the OpenID Connect issuer in the configuration.
	Issuer string
	// Caller is the person. Its name is `oidc:ISSUER:SUBJECT`. Its ExpireTime is when the session
	// ends.
	Caller access.Caller
	// DisplayName is the name or email address that the issuer sent, for pages that the person sees. It
	// proves nothing, and may be empty.
	DisplayName string
}

// SignedIn is an Authenticator for persons who have signed in by OpenID Connect. It accepts only
// persons whose issuer is still configured.
type SignedIn struct {
	issuers []string
	clock   clockwork.Clock
}

// NewSignedIn returns a SignedIn for the issuers with these names.
func NewSignedIn(clock clockwork.Clock, issuers ...string) SignedIn { return SignedIn{issuers, clock} }

// Authenticate implements Authenticator.
func (s SignedIn) Authenticate(_ context.Context, evidence Evidence) (access.Caller, error) {
	switch person := evidence.Person; {
	case person == nil:
		return access.Caller{}, ErrNoEvidence
	case !slices.Contains(s.issuers, person.Issuer):
		return access.Caller{}, refused("the issuer that signed the person in is not configured any more")
	case !clock.WallNow(s.clock).Before(person.Caller.ExpireTime):
		return access.Caller{}, refused("the session has expired: sign in again")
	default:
		return person.Caller, nil
	}
}
