package authentication

import (
	"context"
	"strconv"

	"github.com/authmaterial/broker/internal/access"
)

// PeerUser identifies a process on this machine by its user ID, which the operating system reports.
// The name of the caller is `uid:NUMBER`. If the user has no ID in the broker's user namespace, the
// name of the caller is `uid:65534`.
type PeerUser struct{}

// Authenticate implements Authenticator.
func (PeerUser) Authenticate(_ context.Context, evidence Evidence) (access.Caller, error) {
	if evidence.UserID == nil {
		return access.Caller{}, ErrNoEvidence
	}
	return access.Caller{Name: "uid:" + strconv.FormatUint(uint64(*evidence.UserID), 10)}, nil
}

// Local gives every caller the name `local`. If a configuration requires no authentication, Local
// is the last of its authentication methods.
type Local struct{}

// Authenticate implements Authenticator.
func (Local) Authenticate(context.Context, Evidence) (access.Caller, error) {
	return access.Caller{Name: access.Local}, nil
}
