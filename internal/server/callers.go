package server

import (
	"crypto/x509"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
)

// newCallers returns the authenticators of a configuration. Then s.keys.Use must be called with the
// issuers that are in use.
func (s *Server) newCallers(c *config.Config) *authentication.Set {
	issuers := s.keys.Prepare(c.Authentication.Issuers)
	var methods []authentication.Method
	add := func(name string, by authentication.Authenticator) {
		counts := s.observer.Authentications(name)
		methods = append(methods, authentication.Method{Name: name, Authenticator: by, Counts: counts})
	}
	// The proof that a call brings has precedence over the proof that its connection brings.
	add(authentication.MethodJWT, issuers)
	add(authentication.MethodToken, authentication.NewStaticTokens(c.Authentication.Tokens...))
	if authorities := clientAuthorities(c); authorities != nil {
		add(authentication.MethodMutualTLS, authentication.NewMutualTLS(authorities, s.clock))
	}
	if c.Authentication.PeerUser {
		add(authentication.MethodPeerUser, authentication.PeerUser{})
	}
	if !demandsProof(c) {
		add(authentication.MethodNone, authentication.Local{})
	}
	return authentication.NewSet(issuers, s.observer.Refused(authentication.MethodNone), methods...)
}

// demandsProof reports whether callers must prove who they are.
func demandsProof(c *config.Config) bool {
	return c.Authentication.Demanded || clientAuthorities(c) != nil
}

// clientAuthorities returns the authorities that sign client certificates, or nil if the listeners
// do not ask for any.
func clientAuthorities(c *config.Config) *x509.CertPool {
	if c.Listen.TLS == nil {
		return nil
	}
	return c.Listen.TLS.ClientCAs
}
