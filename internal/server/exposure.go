package server

import (
	"errors"
	"log/slog"

	"github.com/authmaterial/broker/internal/config"
)

// exposure is what a configuration does not ask of callers.
type exposure struct {
	unproven  bool // nobody has to prove who they are
	ungranted bool // nobody needs a grant
}

func exposureOf(c *config.Config) exposure {
	return exposure{unproven: !demandsProof(c), ungranted: c.Policy.AllowsAll()}
}

// exceeds reports whether less is asked of callers than before.
func (e exposure) exceeds(before exposure) bool {
	return e.unproven && !before.unproven || e.ungranted && !before.ungranted
}

// WarnOfExposure logs who gets the secrets without a proof. A reload after which less is asked
// of callers logs it again.
func (s *Server) WarnOfExposure() { logExposure(s.logger, s.listen, *s.exposure.Load()) }

// logExposure logs who gets the secrets without a proof.
func logExposure(logger *slog.Logger, where config.Listen, now exposure) {
	if where.GRPC.Remote && where.TLS == nil {
		logger.Warn("INSECURE: the broker listens beyond this machine without TLS: the network can read the secrets, and what callers prove themselves with",
			"grpc", where.GRPC.Address)
	}
	switch {
	case where.GRPC.Network == "unix":
		if now.ungranted && where.OpenToGroup() {
			logger.Warn("callers need no grant: every user in the group of the Unix socket gets the secrets", "grpc", where.GRPC.Address)
		}
	case !now.unproven:
	case where.GRPC.Remote:
		logger.Warn("INSECURE: callers are not authenticated, and the broker listens beyond this machine: everybody who reaches it gets the secrets",
			"grpc", where.GRPC.Address)
	default:
		logger.Warn("callers are not authenticated: every user of this machine gets the secrets; a Unix socket limits them to one user")
	}
	if where.HTTP.Remote && (where.TLS == nil || now.unproven) {
		logger.Warn("INSECURE: metrics can be read beyond this machine without TLS or by everybody", "http", where.HTTP.Address)
	}
}

// What is wrong with configurations that are safe only once listen changes.
var (
	errExposed     = errors.New("the broker listens beyond this machine, and this configuration authenticates no caller: restart the broker to have it")
	errOpenToUsers = errors.New("every user of this machine can connect to the broker's Unix socket, and this configuration has no grants: restart the broker to have it")
)

// exposedBy says why a configuration would serve everybody who reaches the address at which
// the broker listens. That is allowed only if it was at the start: listen does not change.
func (s *Server) exposedBy(next *config.Config) error {
	meant := s.listen.InsecureAllowRemote && next.Listen.InsecureAllowRemote
	switch {
	case s.listen.GRPC.Remote && !meant && !demandsProof(next):
		return errExposed
	case s.listen.OpenToUsers() && next.Policy.AllowsAll():
		return errOpenToUsers
	}
	return nil
}
