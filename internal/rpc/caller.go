package rpc

import (
	"context"

	"github.com/authmaterial/broker/internal/access"
)

// callerKey is the key of a call's caller.
type callerKey struct{}

// WithCaller returns a context of a call by this caller.
func WithCaller(ctx context.Context, caller access.Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerOf returns who calls. Without one it is nobody, whom no grant names.
func CallerOf(ctx context.Context) access.Caller {
	caller, _ := ctx.Value(callerKey{}).(access.Caller)
	return caller
}

// Refused is what a caller gets whose identity was not proved.
func (s *Service) Refused(ctx context.Context, err error) error { return s.toStatus(ctx, err) }
