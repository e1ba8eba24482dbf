package server

import (
	"crypto/x509"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
)

// newCallers returns the authenticators for a configuration. When the configuration is put into
// use, s.keys.Use must be called with its issuers.
func (s *Server) newCallers(c *config.Config) *authentication.Set {
	issuers := s.keys.Prepare(c.Authentication.Issuers)
	var methods []authentication.Method
	add := func(name string, by authentication.Authenticator) {
		counts := s.observer.Authentications(name)
		methods = append(methods, authentication.Method{Name: name, Authenticator: by, Counts: counts})
	}
	// A token in a call has precedence over the client certificate, or the user ID, of the
	// connection.
	add(authentication.MethodJWT, issuers)
	add(authentication.MethodToken, authentication.NewStaticTokens(c.Authentication.Tokens...))
	if names := c.Console.IssuerNames(); len(names) > 0 {
		add(authentication.MethodOIDC, authentication.NewSignedIn(s.clock, names...))
	}
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

// demandsProof reports whether callers must authenticate.
func demandsProof(c *config.Config) bool {
	return c.Authentication.Demanded || clientAuthorities(c) != nil
}

// clientAuthorities returns the authorities that sign client certificates, or nil if the listeners
// request none.
func clientAuthorities(c *config.Config) *x509.CertPool {
	if c.Listen.TLS == nil {
		return nil
	}
	return c.Listen.TLS.ClientCAs
}
