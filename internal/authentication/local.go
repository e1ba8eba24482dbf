package authentication

import (
	"context"
	"strconv"

	"github.com/authmaterial/broker/internal/access"
)

// PeerUser identifies a process on this machine by its user ID, which the operating system reports,
// as `uid:NUMBER`. A user without an ID in the broker's user namespace gets the name uid:65534.
type PeerUser struct{}

// Authenticate implements Authenticator.
func (PeerUser) Authenticate(_ context.Context, evidence Evidence) (access.Caller, error) {
	if evidence.UserID == nil {
		return access.Caller{}, ErrNoEvidence
	}
	return access.Caller{Name: "uid:" + strconv.FormatUint(uint64(*evidence.UserID), 10)}, nil
}

// Local gives every caller the name `local`. It is the last authentication method of a
// configuration that requires no authentication.
type Local struct{}

// Authenticate implements Authenticator.
func (Local) Authenticate(context.Context, Evidence) (access.Caller, error) {
	return access.Caller{Name: "local"}, nil
}
