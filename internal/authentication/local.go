package authentication

import (
	"context"

	"github.com/authmaterial/broker/internal/access"
)

// Local takes everybody for `local`: it is the last authenticator where nobody has to prove
// anything.
type Local struct{}

// Authenticate implements Authenticator.
func (Local) Authenticate(_ context.Context, evidence Evidence) (access.Caller, error) {
	return access.Caller{Name: "local", Method: MethodNone, Address: evidence.Address}, nil
}
