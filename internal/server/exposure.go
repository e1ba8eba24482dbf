package server

import (
	"errors"
	"log/slog"
	"math"

	"github.com/authmaterial/broker/internal/config"
)

// LogWarnings logs the warnings about probable mistakes in a configuration, and about callers that
// get secrets without authentication. A Server logs the same warnings when it starts, but only a
// limited number of them.
func LogWarnings(logger *slog.Logger, c *config.Config) {
	logWarnings(logger, c, nil, math.MaxInt)
	logExposure(logger, c.Listen, c)
}

// logWarnings logs the warnings about the configuration `c`, which has replaced the configuration
// `before`, or nil at the start. At most `most` of c.Warnings are logged, and one more line states
// how many warnings were not.
func logWarnings(logger *slog.Logger, c, before *config.Config, most int) {
	if c.Policy.DeniesAll() && (before == nil || !before.Policy.DeniesAll()) {
		logger.Warn("the configuration has no grants: no caller may use any credential")
	}
	for _, id := range c.ReplacedProviders {
		logger.Warn("the configuration replaces a built-in provider", "provider", id)
	}
	shown := min(len(c.Warnings), most)
	for _, warning := range c.Warnings[:shown] {
		logger.Warn("configuration", "warning", warning.String())
	}
	if more := len(c.Warnings) - shown; more > 0 {
		logger.Warn("configuration", "more_warnings", more)
	}
}

// demandsLess reports whether a configuration requires less of callers than the previous one,
// because it has no authentication or no grants.
func demandsLess(c, before *config.Config) bool {
	return demandsProof(before) && !demandsProof(c) || !before.Policy.AllowsAll() && c.Policy.AllowsAll()
}

// WarnOfExposure logs warnings about callers that get secrets without authentication. After a
// reload, the same warnings are logged again if the new configuration requires less of callers than
// the previous one.
func (s *Server) WarnOfExposure() { logExposure(s.logger, s.fixed.Listen, s.broker.Current().Config) }

func logExposure(logger *slog.Logger, listen config.Listen, c *config.Config) {
	proven := demandsProof(c)
	address := slog.String("grpc", listen.GRPC.Address)
	if listen.GRPC.Remote && listen.TLS == nil {
		logger.Warn("INSECURE: without TLS, secrets and callers' credentials can be read on the network", address)
	}
	switch {
	case listen.GRPC.Network == "unix":
		if c.Policy.AllowsAll() && listen.OpenToGroup() {
			logger.Warn("callers need no grant: every user in the group of the Unix socket gets the secrets", address)
		}
	case proven:
	case listen.GRPC.Remote:
		logger.Warn("INSECURE: callers are not authenticated: everybody on the network gets the secrets", address)
	default:
		logger.Warn("callers are not authenticated: every user of this machine gets the secrets; a Unix socket limits them to one user")
	}
	if listen.HTTP.Remote && (listen.TLS == nil || !proven) {
		logger.Warn("INSECURE: metrics can be read on the network without TLS or by everybody",
			"http", listen.HTTP.Address)
	}
}

// These errors reject reloads of configurations that are safe only with other 'listen' settings,
// whose change needs a restart.
var (
	errExposed     = errors.New("other machines can connect to the broker, and this configuration authenticates no caller: restart the broker to apply it")
	errOpenToUsers = errors.New("every user of this machine can connect to the Unix socket, and this configuration has no grants: restart the broker to apply it")
)

// checkExposure returns an error if a configuration would give secrets to every client that can
// connect to the broker's address. Clients on other machines are accepted if insecure_allow_remote
// is set both in this configuration and in the configuration at the start.
func (s *Server) checkExposure(next *config.Config) error {
	listen := s.fixed.Listen
	allowed := listen.InsecureAllowRemote && next.Listen.InsecureAllowRemote
	switch {
	case listen.GRPC.Remote && !allowed && !demandsProof(next):
		return errExposed
	case listen.OpenToUsers() && next.Policy.AllowsAll():
		return errOpenToUsers
	}
	return nil
}
