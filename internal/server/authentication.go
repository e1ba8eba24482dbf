package server

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fault"
)

// errNobody is the answer to a call without any evidence that counts.
var errNobody = fault.New(fault.CallerUnauthenticated, "the call does not prove who makes it, in any of the ways that the broker accepts")

// identities finds out who calls, as the configuration has it. Close ends it.
type identities struct {
	clock  clockwork.Clock
	jwt    *authentication.JWT
	counts *prometheus.CounterVec
	nobody prometheus.Counter
	// certificate counts those that end their handshakes.
	certificate prometheus.Counter
	current     atomic.Pointer[authenticators]
	watches     *openWatches
}

// authenticators are those of one configuration, with what is served of it.
type authenticators struct {
	counted authentication.Authenticator
	silent  authentication.Authenticator // the same, without metrics
	issuers *authentication.Issuers
	served  func() broker.View
}

// newIdentities returns identities without authenticators. After a change, rechecked is
// called once the callers of open watches were identified again.
func newIdentities(logger *slog.Logger, clock clockwork.Clock, registry prometheus.Registerer, rechecked func()) *identities {
	i := &identities{clock: clock, counts: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authmaterial_authentications_total",
		Help: "Evidence that calls and TLS handshakes brought of who makes them, by what came of it: ok, refused, deferred when the key may be new and is sought in a moment, or unavailable when it could not be checked. Of the method none are calls without any.",
	}, []string{"method", "result"})}
	registry.MustRegister(i.counts)
	i.nobody = i.counts.WithLabelValues(authentication.MethodNone, "refused")
	i.certificate = i.counts.WithLabelValues(authentication.MethodMutualTLS, "refused")
	i.watches = newOpenWatches(i.recheck, rechecked)
	i.jwt = authentication.NewJWT(authentication.JWTOptions{Clock: clock, Logger: logger, Changed: i.watches.changed})
	return i
}

// close ends what goes on in the background.
func (i *identities) close() { i.jwt.Close() }

// prepare returns the authenticators of a configuration, for use or discard.
func (i *identities) prepare(loaded *config.Config) (*authenticators, error) {
	settings := loaded.Authentication
	issuers, err := i.jwt.Prepare(settings.Issuers)
	if err != nil {
		return nil, err
	}
	// What a call brings of its own counts before what its connection proves.
	by := []method{
		{authentication.MethodJWT, issuers},
		{authentication.MethodToken, authentication.NewStaticTokens(settings.Tokens...)},
	}
	if authorities := clientAuthorities(loaded); authorities != nil {
		by = append(by, method{authentication.MethodMutualTLS, authentication.NewMutualTLS(authorities, i.clock)})
	}
	if settings.PeerUser {
		by = append(by, method{authentication.MethodPeerUser, authentication.PeerUser{}})
	}
	if !demandsProof(loaded) {
		by = append(by, method{authentication.MethodNone, authentication.Local{}})
	}
	prepared := i.join(by)
	prepared.issuers = issuers
	return prepared, nil
}

// use takes authenticators in place of those before, with what the broker serves of their
// configuration. It is one step: a call has both of one configuration. Watches of callers
// that are no longer who they were end.
func (i *identities) use(prepared *authenticators, view broker.View) {
	prepared.served = func() broker.View { return view }
	i.current.Store(prepared)
	i.jwt.Use(prepared.issuers)
	i.watches.changed()
}

// discard is for authenticators that are not used.
func (i *identities) discard(prepared *authenticators) { i.jwt.Discard(prepared.issuers) }

// demandsProof says whether callers have to prove who they are.
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

// method is an authenticator with the name of its method.
type method struct {
	name string
	authentication.Authenticator
}

// join makes one of several, with metrics and without.
func (i *identities) join(methods []method) *authenticators {
	var counted, silent []authentication.Authenticator
	for _, m := range methods {
		silent = append(silent, m.Authenticator)
		counted = append(counted, &countedAuthenticator{
			Authenticator: m.Authenticator,
			ok:            i.counts.WithLabelValues(m.name, "ok"),
			refused:       i.counts.WithLabelValues(m.name, "refused"),
			deferred:      i.counts.WithLabelValues(m.name, "deferred"),
			unavailable:   i.counts.WithLabelValues(m.name, "unavailable"),
		})
	}
	return &authenticators{counted: authentication.Any(counted...), silent: authentication.Any(silent...)}
}

// countedAuthenticator counts what comes of evidence.
type countedAuthenticator struct {
	authentication.Authenticator
	ok, refused, deferred, unavailable prometheus.Counter
}

// Authenticate implements authentication.Authenticator.
func (c *countedAuthenticator) Authenticate(ctx context.Context, evidence authentication.Evidence) (access.Caller, error) {
	caller, err := c.Authenticator.Authenticate(ctx, evidence)
	switch {
	case err == nil:
		c.ok.Inc()
	case errors.Is(err, authentication.ErrNoEvidence):
	case errors.Is(err, authentication.ErrUnsought):
		c.deferred.Inc()
	case fault.From(err).Reason == fault.CallerUnauthenticated:
		c.refused.Inc()
	default:
		c.unavailable.Inc()
	}
	return caller, err
}

// authenticate returns who makes a call. The error is a *fault.Error, or that of ctx.
func (i *identities) authenticate(ctx context.Context, by *authenticators, evidence authentication.Evidence) (access.Caller, error) {
	caller, err := by.counted.Authenticate(ctx, evidence)
	if errors.Is(err, authentication.ErrNoEvidence) {
		i.nobody.Inc()
		return access.Caller{}, errNobody
	}
	return caller, err
}

// ofRequest returns who makes an HTTP request. Over a Unix socket it is nobody known.
func (i *identities) ofRequest(r *http.Request) (access.Caller, error) {
	evidence := authentication.Evidence{
		Bearer:  authentication.ParseBearer(r.Header.Values("Authorization")),
		Address: r.RemoteAddr,
	}
	if r.TLS != nil {
		evidence.Certificates = r.TLS.PeerCertificates
	}
	return i.authenticate(r.Context(), i.current.Load(), evidence)
}

// evidenceOf returns what a gRPC call and its connection bring.
func evidenceOf(ctx context.Context) authentication.Evidence {
	evidence := authentication.Evidence{Bearer: authentication.ParseBearer(metadata.ValueFromIncomingContext(ctx, "authorization"))}
	from, ok := peer.FromContext(ctx)
	if !ok {
		return evidence
	}
	evidence.Address = from.Addr.String()
	proved := from.AuthInfo
	if info, ok := proved.(heldInfo); ok {
		proved = info.AuthInfo
	}
	switch info := proved.(type) {
	case credentials.TLSInfo:
		evidence.Certificates = info.State.PeerCertificates
	case *peerUser:
		evidence.UserID, evidence.Address = info.id, "unix"
	}
	return evidence
}

// demandsCaller is a selector.MatchFunc: who calls matters to all but the health service.
func demandsCaller(_ context.Context, call interceptors.CallMeta) bool {
	return call.Service != grpc_health_v1.Health_ServiceDesc.ServiceName
}
