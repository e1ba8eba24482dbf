package server

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"

	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fault"
)

// errNobody is the answer to an HTTP request without any evidence that counts.
var errNobody = fault.New(fault.CallerUnauthenticated, "the request does not prove who makes it, in any of the ways that the broker accepts")

// identities make of a configuration what finds out who calls. Close ends them.
type identities struct {
	clock  clockwork.Clock
	keys   *authentication.KeyFetcher
	counts *prometheus.CounterVec
	nobody prometheus.Counter
	// certificate counts those that end their handshakes.
	certificate prometheus.Counter
}

// newIdentities returns identities. Whenever the keys of issuers change, changed is called.
func newIdentities(logger *slog.Logger, clock clockwork.Clock, registry prometheus.Registerer, changed func()) *identities {
	i := &identities{clock: clock, counts: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authmaterial_authentications_total",
		Help: "Evidence that calls and TLS handshakes brought of who makes them, by what came of it: ok, refused, deferred when the key may be new and is sought in a moment, or unavailable when it could not be checked. Of the method none are calls without any.",
	}, []string{"method", "result"})}
	registry.MustRegister(i.counts)
	i.nobody = i.counts.WithLabelValues(authentication.MethodNone, "refused")
	i.certificate = i.counts.WithLabelValues(authentication.MethodMutualTLS, "refused")
	i.keys = authentication.NewKeyFetcher(authentication.KeyOptions{Clock: clock, Logger: logger, Changed: changed})
	return i
}

// close ends what goes on in the background.
func (i *identities) close() { i.keys.Close() }

// prepare returns what finds out who calls by a configuration, for use.
func (i *identities) prepare(loaded *config.Config) (*authentication.Set, error) {
	settings := loaded.Authentication
	issuers, err := i.keys.Prepare(settings.Issuers)
	if err != nil {
		return nil, err
	}
	// What a call brings of its own counts before what its connection proves.
	by := []authentication.Method{
		i.method(authentication.MethodJWT, issuers),
		i.method(authentication.MethodToken, authentication.NewStaticTokens(settings.Tokens...)),
	}
	if authorities := clientAuthorities(loaded); authorities != nil {
		by = append(by, i.method(authentication.MethodMutualTLS, authentication.NewMutualTLS(authorities, i.clock)))
	}
	if settings.PeerUser {
		by = append(by, i.method(authentication.MethodPeerUser, authentication.PeerUser{}))
	}
	if !demandsProof(loaded) {
		by = append(by, i.method(authentication.MethodNone, authentication.Local{}))
	}
	return authentication.NewSet(issuers, i.nobody, by...), nil
}

// method returns an authenticator with its metrics.
func (i *identities) method(name string, by authentication.Authenticator) authentication.Method {
	return authentication.Method{Name: name, Authenticator: by, Counts: authentication.Counts{
		OK:          i.counts.WithLabelValues(name, "ok"),
		Refused:     i.counts.WithLabelValues(name, "refused"),
		Deferred:    i.counts.WithLabelValues(name, "deferred"),
		Unavailable: i.counts.WithLabelValues(name, "unavailable"),
	}}
}

// use ends the fetching of keys that a Set does not need: of the Set before, or of one that was
// prepared in vain.
func (i *identities) use(current *authentication.Set) { i.keys.Use(current.Issuers) }

// demandsProof reports whether callers have to prove who they are.
func demandsProof(c *config.Config) bool {
	return c.Authentication.Demanded || clientAuthorities(c) != nil
}

// clientAuthorities vouch for client certificates. Nil: none are asked for.
func clientAuthorities(c *config.Config) *x509.CertPool {
	if c.Listen.TLS == nil {
		return nil
	}
	return c.Listen.TLS.ClientCAs
}

// callerOf returns who makes an HTTP request. Over a Unix socket it is nobody known.
func (s *Server) callerOf(r *http.Request) (access.Caller, error) {
	evidence := authentication.Evidence{
		Bearer:  authentication.ParseBearer(r.Header.Values("Authorization")),
		Address: r.RemoteAddr,
	}
	if r.TLS != nil {
		evidence.Certificates = r.TLS.PeerCertificates
	}
	return s.broker.Current().Callers.Identify(context.WithoutCancel(r.Context()), evidence)
}
