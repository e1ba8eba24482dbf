package authentication

import (
	"context"
	"strconv"

	"github.com/authmaterial/broker/internal/access"
)

// PeerUser identifies a process on this machine by its user, as the system reports it:
// `uid:NUMBER`. A user of another user namespace that this one does not know is
// uid:65534.
type PeerUser struct{}

// Authenticate implements Authenticator.
func (PeerUser) Authenticate(_ context.Context, evidence Evidence) (access.Caller, error) {
	if evidence.UserID == nil {
		return access.Caller{}, ErrNoEvidence
	}
	return access.Caller{
		Name:    "uid:" + strconv.FormatUint(uint64(*evidence.UserID), 10),
		Method:  MethodPeerUser,
		Address: evidence.Address,
	}, nil
}
