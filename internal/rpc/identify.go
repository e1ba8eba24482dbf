package rpc

import (
	"context"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// identifyAnew finds out who makes a call with these values of the header authorization. Without any
// the caller is remembered.
func (s *Service) identifyAnew(ctx context.Context, g *broker.Generation, p *Peer, authorization []string) (*rememberedCaller, error) {
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
	defer func() {
		if cause := recover(); cause != nil {
			_ = s.Recovered(ctx, cause) // so will its calls be
		}
	}()
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
