package rpc

import (
	"context"
	"crypto/x509"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// Peer is the client of a connection, with what the handshake revealed about it. *Peer is a
// credentials.AuthInfo.
type Peer struct {
	credentials.CommonAuthInfo
	Conn *admission.Conn
	// Certificates are the client's certificates, leaf first and not verified. The list is empty if
	// the client sent no certificate.
	Certificates []*x509.Certificate
	// UserID is the user at the other end of a Unix socket, or nil if the user is unknown or the
	// connection does not use a Unix socket.
	UserID *uint32
	// Address is the client's network address, or UnixAddress.
	Address string
	// Local is true if only this machine can connect to the listener.
	Local bool
	// PrivateSocket is true if the connection uses a Unix socket that only the broker's own user
	// can open.
	PrivateSocket bool

	// The evidence `given` is that of a person for whom the broker itself makes the call. It is nil for
	// other calls.
	given *authentication.Evidence
	// This is the caller of the connection's calls without a token, or nil before that caller is
	// identified.
	caller atomic.Pointer[rememberedCaller]
}

// UnixAddress is the address of each client that is connected over a Unix socket.
const UnixAddress = "unix"

// AuthType implements credentials.AuthInfo.
func (*Peer) AuthType() string { return "broker" }

// rememberedCaller is the caller of a connection, as identified with the configuration of one
// Generation.
type rememberedCaller struct {
	access.Caller
	generation uint64
	limits     *admission.Caller
	again      Counter // counts the later calls of this caller on the connection
}

// EvidenceOf returns the evidence of the caller's identity in a call and in its connection.
func EvidenceOf(ctx context.Context) authentication.Evidence {
	return peerOf(ctx).evidence(metadata.ValueFromIncomingContext(ctx, "authorization"))
}

func (p *Peer) evidence(authorization []string) authentication.Evidence {
	if p.given != nil {
		return *p.given
	}
	return authentication.Evidence{
		Bearer:       authentication.ParseBearer(authorization),
		Certificates: p.Certificates,
		UserID:       p.UserID,
		Address:      p.Address,

		PrivateSocket: p.PrivateSocket,
	}
}

// identifyAnew identifies the caller of a call. The parameter `authorization` contains the values
// of the authorization header. If the call has no such header, identifyAnew remembers the caller
// for later calls on the connection.
func (s *Service) identifyAnew(
	ctx context.Context, g *broker.Generation, p *Peer, authorization []string,
) (*rememberedCaller, error) {
	caller, err := g.Callers.Identify(ctx, p.evidence(authorization))
	if err != nil {
		return nil, err
	}
	limits, err := s.admit(p, g, caller)
	if err != nil {
		return nil, err
	}
	found := &rememberedCaller{Caller: caller, generation: g.Number, limits: limits, again: g.Callers.OK(caller.Method)}
	if len(authorization) == 0 {
		p.caller.Store(found)
	}
	return found, nil
}

// admit returns the limits of a caller, and assigns the connection to the caller unless it
// already belongs to one.
func (s *Service) admit(p *Peer, g *broker.Generation, caller access.Caller) (*admission.Caller, error) {
	limits := s.everybody
	if caller.Method != authentication.MethodNone && !IsTrusted(g, p.Local) {
		limits = s.options.Admission.Caller(caller.Name)
	}
	if p.Conn != nil && !p.Conn.Prove(limits) {
		return nil, fault.New(fault.RateLimited,
			"the caller has reached its limit of connections: close other connections, or use one connection for more calls")
	}
	return limits, nil
}

// Prove assigns a connection to the caller that the handshake has authenticated, if any. Prove
// ignores errors, because the calls of the connection fail with the same errors.
func (s *Service) Prove(ctx context.Context, p *Peer) {
	if len(p.Certificates) == 0 && p.UserID == nil {
		return
	}
	defer func() {
		if cause := recover(); cause != nil {
			_ = s.Recovered(ctx, cause)
		}
	}()
	g := s.options.Broker.Current()
	if caller, err := g.Callers.Recheck(ctx, p.evidence(nil)); err == nil {
		_, _ = s.admit(p, g, caller)
	}
}

// IsTrusted reports whether every client of a listener may use every credential, because only
// this machine can connect to the listener, and the Generation requires neither authentication
// nor grants.
func IsTrusted(g *broker.Generation, local bool) bool {
	return local && g.Config.Policy.AllowsAll()
}
