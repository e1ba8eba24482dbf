package rpc

import (
	"context"

	"google.golang.org/grpc/metadata"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
)

// identified is who makes a call, and whose limits the call counts for.
type identified struct {
	broker.Caller
	limits *admission.Caller
}

// identify finds out who makes a call, by the Generation that is served now. A connection is
// identified once for each Generation, unless its calls bring proofs of their own.
func (s *Service) identify(ctx context.Context) (identified, error) {
	g, p := s.broker.Current(), peerOf(ctx)
	authorization := metadata.ValueFromIncomingContext(ctx, "authorization")
	if known := p.caller.Load(); known != nil && len(authorization) == 0 && s.isValid(known, g) {
		g.Callers.Remembered(known.Method)
		return identified{Caller: broker.Caller{Caller: known.Caller, By: g}, limits: known.limits}, nil
	}
	caller, err := g.Callers.Identify(ctx, p.evidence(authorization))
	if err != nil {
		return identified{}, err
	}
	limits, err := s.admit(p, g, caller)
	if err != nil {
		return identified{}, err
	}
	if len(authorization) == 0 {
		p.caller.Store(&rememberedCaller{Caller: caller, generation: g.Number(), limits: limits})
	}
	return identified{Caller: broker.Caller{Caller: caller, By: g}, limits: limits}, nil
}

// isValid reports whether a remembered caller is that of a connection still.
func (s *Service) isValid(known *rememberedCaller, g *broker.Generation) bool {
	return known.generation == g.Number() &&
		(known.ExpireTime.IsZero() || clock.WallNow(s.clock).Before(known.ExpireTime))
}

// admit returns whose limits a caller's calls count for. The connection is the caller's from then
// on, if it is nobody's yet.
func (s *Service) admit(p *Peer, g *broker.Generation, caller access.Caller) (*admission.Caller, error) {
	limits := s.everybody
	if caller.Method != authentication.MethodNone && !IsTrusted(g, p.Local) {
		limits = s.admission.Caller(caller.Name)
	}
	if p.Conn != nil && !p.Conn.Prove(limits) {
		return nil, fault.New(fault.RateLimited, "the caller has as many connections as it may: close others, or share them")
	}
	return limits, nil
}

// Prove makes a connection its caller's, where the handshake has proved who that is.
func (s *Service) Prove(ctx context.Context, p *Peer) {
	if len(p.Certificates) == 0 && p.UserID == nil {
		return
	}
	g := s.broker.Current()
	if caller, err := g.Callers.Recheck(ctx, p.evidence(nil)); err == nil {
		_, _ = s.admit(p, g, caller) // its calls are told
	}
}

// IsTrusted reports whether every client of a listener gets the secrets: only this machine can
// connect to it, and a Generation demands neither proofs nor grants.
func IsTrusted(g *broker.Generation, local bool) bool {
	return local && g.Config.Policy.AllowsAll()
}
