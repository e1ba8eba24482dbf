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

// Peer is the client of a connection, as known since the handshake. Its pointer is a
// credentials.AuthInfo.
type Peer struct {
	credentials.CommonAuthInfo
	// Conn is the connection.
	Conn *admission.Conn
	// Certificates are the client's, leaf first, not verified. Empty: the client sent none.
	Certificates []*x509.Certificate
	// UserID is the user at the other end of a Unix socket. Nil: unknown, or not a Unix socket.
	UserID *uint32
	// Address is the address of the client.
	Address string
	// Local reports whether only this machine can connect to the listener.
	Local bool

	// caller makes the calls that bring no token. Nil: not identified yet.
	caller atomic.Pointer[rememberedCaller]
}

// AuthType implements credentials.AuthInfo.
func (*Peer) AuthType() string { return "broker" }

// rememberedCaller is the caller of a connection, as identified by a Generation.
type rememberedCaller struct {
	access.Caller
	generation uint64
	limits     *admission.Caller
	again      Counter // counts the calls whose caller was remembered
}

// EvidenceOf returns what a call and its connection bring to prove the caller's identity.
func EvidenceOf(ctx context.Context) authentication.Evidence {
	return peerOf(ctx).evidence(metadata.ValueFromIncomingContext(ctx, "authorization"))
}

// evidence returns the evidence of a call with these values of the header authorization.
func (p *Peer) evidence(authorization []string) authentication.Evidence {
	return authentication.Evidence{
		Bearer:       authentication.ParseBearer(authorization),
		Certificates: p.Certificates,
		UserID:       p.UserID,
		Address:      p.Address,
	}
}

// identifyAnew identifies the caller of a call with these values of the header authorization. If there
// are none, it remembers the caller for the connection.
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

// admit returns the limits that a caller's calls count for, and assigns the connection to the caller
// unless it is assigned already.
func (s *Service) admit(p *Peer, g *broker.Generation, caller access.Caller) (*admission.Caller, error) {
	limits := s.everybody
	if caller.Method != authentication.MethodNone && !IsTrusted(g, p.Local) {
		limits = s.options.Admission.Caller(caller.Name)
	}
	if p.Conn != nil && !p.Conn.Prove(limits) {
		return nil, fault.New(fault.RateLimited,
			"the caller has reached its limit of connections: close others, or share them")
	}
	return limits, nil
}

// Prove assigns a connection to its caller, if the handshake has proved the caller's identity. Errors
// are left to the calls of the connection, which get them too.
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

// IsTrusted reports whether every client of a listener may use every credential: only this machine can
// connect to the listener, and the Generation requires neither authentication nor grants.
func IsTrusted(g *broker.Generation, local bool) bool {
	return local && g.Config.Policy.AllowsAll()
}
