package broker

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime/debug"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// A call that waits for a token gives up shortly before its deadline, so that the error can
	// still be sent: maxReserve before the deadline, or a quarter of the call's time if that is
	// less.
	maxReserve         = 200 * time.Millisecond
	reserveFraction    = 4
	deadlineRetryDelay = time.Second
)

// errNotRecorded is what the caller gets instead of the call's result if the call's audit record
// could not be written.
var errNotRecorded = fault.New(fault.Internal, "the audit record could not be written")

// Caller is an authenticated caller.
type Caller struct {
	access.Caller
	// By is the Generation that authenticated the caller, or nil for the current Generation.
	By *Generation
	// Now is when the caller was authenticated, as a time of Options.Clock, or zero if the time is
	// unknown.
	Now time.Time
}

// Current returns the current Generation.
func (b *Broker) Current() *Generation { return b.current.Load() }

// basis returns the Generation that a call uses and the time at which the call takes place.
func (b *Broker) basis(caller *Caller) (g *Generation, now time.Time) {
	g, now = caller.By, caller.Now
	if g == nil {
		g = b.current.Load()
	}
	if now.IsZero() {
		now = b.options.Clock.Now()
	}
	return g, now
}

// Get returns the current decoration of a credential. If the decoration is not available in time,
// Get returns an error shortly before the deadline of ctx. The error is a *fault.Error or the error
// of ctx; any other error is an internal failure.
func (b *Broker) Get(ctx context.Context, caller Caller, id string) (*Decoration, error) {
	return b.get(ctx, caller, id, nil)
}

// errHost is the error of a call for a host to which the material may not be sent.
var errHost = fault.New(fault.AccessDenied,
	"the host to which the proxy sends requests is not an allowed host of the credential")

// GetForHost does what Get does, for a caller that sends requests to one host. The host has an
// optional port. If it is not an allowed host of the credential, the call is denied.
func (b *Broker) GetForHost(ctx context.Context, caller Caller, id, host string) (*Decoration, error) {
	return b.get(ctx, caller, id, func(a *account) error {
		if !a.credential.AllowsHost(host) {
			return errHost
		}
		return nil
	})
}

// get returns the current decoration of a credential whose account passes the check, which may be nil.
func (b *Broker) get(ctx context.Context, caller Caller, id string, check func(*account) error) (*Decoration, error) {
	g, now := b.basis(&caller)
	record := audit.Record{Caller: caller.Caller, Operation: audit.Get, CredentialID: id}
	var d *Decoration
	a, by, err := b.admit(g, &caller.Caller, id)
	record.Grant = by.grant
	if err == nil && check != nil {
		err = check(a)
	}
	if err == nil {
		if d, err = b.ready(a, caller.Caller, now); d == nil && err == nil {
			d, err = b.obtain(ctx, a)
		} else {
			record.Time = b.wall(caller.Now)
		}
	}
	if err = b.record(ctx, &record, d, err); err != nil {
		d = nil
	}
	if a != nil {
		b.countUse(by, a.version, d, now)
	}
	return d, err
}

// admit returns the account of a credential that the caller may use, and the decision about the
// access, which is never nil. Without an error, the account is not nil. The credential is looked up
// only after the access decision, so a denied caller cannot learn which credentials exist, neither
// from the error nor from the time until it arrives.
func (b *Broker) admit(g *Generation, caller *access.Caller, id string) (a *account, by *decision, err error) {
	made, err := g.decisionOf(caller, id)
	if err != nil {
		return nil, made, err
	}
	e := g.entries.get(id)
	switch {
	case e == nil && g.pending:
		return nil, made, errPending
	case e == nil || e.credential.Disabled:
		missing := fmt.Sprintf("there is no credential %q, or it is disabled", id)
		return nil, made, fault.New(fault.CredentialNotFound, missing)
	}
	a, err = b.account(e.forCaller(caller))
	return a, made, err
}

// decisionOf returns the decision whether the caller may use a credential, which is never nil. If
// the caller may not use it, the error says why.
func (g *Generation) decisionOf(caller *access.Caller, id string) (*decision, error) {
	slot := &g.decisions.slots[maphash.Comparable(g.decisions.seed, [2]string{caller.Name, id})%decisionSlots]
	made := slot.Load()
	if made == nil || made.caller != caller.Name || made.id != id || !slices.Equal(made.groups, caller.Groups) {
		if !credentials.ValidID(id) {
			return &decision{}, fault.New(fault.InvalidRequest, "the credential ID must match "+credentials.IDPattern)
		}
		made = g.decide(caller, id)
		slot.Store(made)
	}
	switch {
	case made.allowed:
		return made, nil
	case made.later:
		return made, errPending
	default:
		return made, errDenied
	}
}

// `ready` returns the decoration if it is available without waiting, or else nil.
func (b *Broker) ready(a *account, caller access.Caller, now time.Time) (*Decoration, error) {
	if a.source == nil {
		return b.decorate(a, nil, now)
	}
	if t, ok := b.options.Tokens.WarmAt(a.tokenKey, now); ok {
		return b.decorate(a, t, now)
	}
	return b.graceDecoration(a, caller), nil
}

// decorate returns the decoration that contains a token, which is nil for static material. For each
// token, the decoration is made and encoded only once. The RefreshTime of static material must
// advance, so its decoration is made again, but at most once a second.
func (b *Broker) decorate(a *account, t *token.Token, now time.Time) (*Decoration, error) {
	latest := a.latest.Load()
	if latest != nil && latest.token == t && now.Before(latest.reuse) && latest.rejection == a.rejection.Load() &&
		latest.offset == b.wall(now).Sub(now) {
		return latest, nil
	}
	return b.makeDecoration(a, t, now)
}

// obtain waits for a token, and returns the decoration that contains it. obtain converts a panic
// into an error, because a panic in a background goroutine would end the process.
func (b *Broker) obtain(ctx context.Context, a *account) (d *Decoration, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			b.options.Logger.Error("panic while waiting for a token",
				"type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
			d, err = nil, fault.Opaque()
		}
	}()
	err = inTime(ctx, func(ctx context.Context) error {
		t, err := b.options.Tokens.Token(ctx, a.source)
		if err == nil {
			d, err = b.decorate(a, t, b.options.Clock.Now())
		}
		return err
	})
	return d, err
}

// inTime calls a function with a context that ends shortly before the deadline of ctx. If the
// function fails because its context ended, inTime returns an error with a retry delay for the
// caller.
func inTime(ctx context.Context, wait func(context.Context) error) error {
	limited := ctx
	if deadline, ok := ctx.Deadline(); ok {
		reserve := min(maxReserve, time.Until(deadline)/reserveFraction)
		var cancel context.CancelFunc
		limited, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
		defer cancel()
	}
	err := wait(limited)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fault.New(fault.ProviderUnavailable, "the provider did not answer before the deadline of the call").
			WithRetryDelay(deadlineRetryDelay)
	}
	return err
}

// record writes the audit record of a call's outcome, and returns the error for the caller: the
// error of the call, except if the audit record cannot be written, or if the call is a denial
// beyond the limit of recorded denials. Watches themselves limit how many audit records their
// denials cause.
func (b *Broker) record(ctx context.Context, record *audit.Record, d *Decoration, err error) error {
	record.Action, record.Outcome = access.Use, "OK"
	if err != nil {
		denial := isDenial(err)
		if denial && record.Operation != audit.Watch && !b.allowsDenial(record.Caller) {
			return ErrManyDenials
		}
		record.Outcome = string(fault.From(err).Reason)
		if ctx.Err() != nil && !denial { // denials are recorded even if the caller has disconnected
			record.Outcome = "CALLER_GONE"
		}
	}
	if d != nil {
		record.Version = d.Version
	}
	if b.options.Audit != nil && b.options.Audit.Write(ctx, *record) != nil {
		return errNotRecorded
	}
	return err
}
