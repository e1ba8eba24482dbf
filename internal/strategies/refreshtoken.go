package strategies

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/secret"
)

// RefreshTokens keeps the current refresh token of each credential whose provider replaces the refresh
// token with each token. Its errors wrap a *fault.Error, except for ErrSuperseded.
type RefreshTokens interface {
	// Lease leases the current refresh token of a chain: the one that was last stored, or first the
	// first one. Nobody else, in any replica, can lease it until the lease is ended or its life has
	// passed. If somebody else has the lease, Lease returns no lease, and how long that one lasts.
	Lease(ctx context.Context, chain RefreshChain, life time.Duration) (lease RefreshLease, wait time.Duration, err error)
}

// RefreshChain identifies the refresh tokens that follow each other.
type RefreshChain struct {
	CredentialID string
	First        secret.Text
	// Recipient stands for the values of the credential that determine where a refresh token is sent.
	Recipient string
}

// RefreshLease is the right to use a refresh token.
type RefreshLease interface {
	Token() secret.Text
	// Interrupted reports that an earlier lease of this refresh token ended without a result, so the
	// provider may have replaced it.
	Interrupted() bool
	// Replace stores the successor durably, also if the lease has ended, and ends the lease. Replace
	// fails while somebody else has the lease. It returns ErrSuperseded if another successor was
	// stored, and may be called again after any other error.
	Replace(ctx context.Context, successor secret.Text) error
	// Release ends the lease of a refresh token without a successor. Release returns ErrSuperseded if
	// a successor was stored meanwhile.
	Release(ctx context.Context, interrupted bool) error
}

// ErrSuperseded means that a refresh token was replaced by somebody else.
var ErrSuperseded = errors.New("another successor of the refresh token was stored")
