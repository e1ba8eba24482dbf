package broker

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// Caller is who calls, as one Generation identifies it.
type Caller struct {
	access.Caller
	// By is that Generation; nil: the current one.
	By *Generation
	// Now is when the call was identified, by the Broker's clock; zero: not known.
	Now time.Time
	// Proofs is what Broker.Proofs returned before that. Only Watch needs it.
	Proofs uint64
}

// Current returns the Generation that is served.
func (b *Broker) Current() *Generation { return b.current.Load() }

// Get returns the current decoration of a credential. It answers shortly before the
// deadline of ctx. The error is a *fault.Error, or that of ctx; any other is a fault of
// the broker's own.
func (b *Broker) Get(ctx context.Context, caller Caller, id string) (*Decoration, error) {
	g, now := caller.By, caller.Now
	if g == nil {
		g = b.current.Load()
	}
	if now.IsZero() {
		now = b.clock.Now()
	}
	record := audit.Record{Caller: caller.Caller, Operation: audit.Get, Action: access.Use, CredentialID: id}
	var decoration *Decoration
	a, grant, err := g.admit(caller.Name, id)
	record.Grant = grant
	if err != nil {
		err = b.refused(caller.Caller, err)
	} else {
		var ready bool
		if ready, decoration, err = b.ready(a, caller.Caller, now); !ready {
			decoration, err = b.obtain(ctx, a)
		} else if !caller.Now.IsZero() {
			record.Time = b.wall(now)
		}
	}
	if failed := b.record(ctx, &record, decoration, err); failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	return decoration.answer, nil
}

// admit returns the account of an ID if the caller may use it, and the place of the grant in the
// configuration. Without a grant, neither the answer nor the work that it takes depends on what
// there is: the credential is looked up after the decision.
func (g *Generation) admit(caller, id string) (a *account, grant string, err error) {
	decided := g.decisions.place(caller, id).Load()
	if decided == nil || decided.caller != caller || decided.id != id {
		if decided, err = g.decide(caller, id); err != nil {
			return nil, "", err
		}
	}
	if !decided.allowed {
		return nil, "", errDenied
	}
	if a = g.accounts[id]; a == nil {
		return nil, decided.grant, fault.New(fault.CredentialNotFound, fmt.Sprintf("there is no credential %q, or it is disabled", id))
	}
	return a, decided.grant, nil
}

// place returns where the decision about a caller and a credential is remembered.
func (d *decisions) place(caller, id string) *atomic.Pointer[decision] {
	return &d.made[maphash.Comparable(d.seed, [2]string{caller, id})%decisionPlaces]
}

// ready returns a decoration for a caller for which there is nothing to wait for.
func (b *Broker) ready(a *account, caller access.Caller, now time.Time) (ready bool, decoration *Decoration, err error) {
	var t *token.Token
	if a.source != nil {
		if t, ready = b.tokens.WarmAt(a.tokenKey, now); !ready {
			decoration = b.formerDecoration(a, caller)
			return decoration != nil, decoration, nil
		}
	}
	decoration, err = b.decorate(a, t, now)
	return true, decoration, err
}

// decorate returns the decoration with this token in it; nil for static material. It is made, and
// encoded, once a token, and once a second for static material, whose refresh time is counted from
// the answer.
func (b *Broker) decorate(a *account, t *token.Token, now time.Time) (*Decoration, error) {
	latest := a.latest.Load()
	if latest != nil && latest.token == t && now.Before(latest.until) && latest.rejected == a.rejected.Load() &&
		latest.shift == b.wall(now).Sub(now) {
		return latest.decoration, nil
	}
	return b.decorateAnew(a, t, now)
}

// obtain returns a decoration whose token has to be waited for.
func (b *Broker) obtain(ctx context.Context, a *account) (*Decoration, error) {
	limited, cancel := withReserve(ctx)
	defer cancel()
	t, err := b.tokens.Token(limited, a.source)
	if err != nil {
		return nil, outOfTime(ctx, err)
	}
	return b.decorate(a, t, b.clock.Now())
}

// record writes the record of an outcome. After an error that must not go out.
func (b *Broker) record(ctx context.Context, record *audit.Record, d *Decoration, err error) error {
	if b.audit == nil || errors.Is(err, ErrManyDenials) {
		return nil
	}
	record.Outcome = "OK"
	if err != nil {
		record.Outcome = fault.From(err).Reason.String()
		if ctx.Err() != nil && !needsNoGrant(err) { // a denial is one, whoever waits for it
			record.Outcome = "CALLER_GONE"
		}
	}
	if d != nil {
		record.Version = d.Version
	}
	if b.audit.Write(ctx, *record) != nil {
		return fault.New(fault.Internal, "the audit record could not be written")
	}
	return nil
}

// audited writes the record of an outcome, and returns the answer: the outcome, unless the record
// cannot be written.
func (b *Broker) audited(ctx context.Context, record audit.Record, d *Decoration, err error) (*Decoration, error) {
	if failed := b.record(ctx, &record, d, err); failed != nil {
		return nil, failed
	}
	return d.forCallers(), err
}

// recordOf is what an audit record says of a call from its beginning.
func recordOf(caller access.Caller, operation audit.Operation, id string) audit.Record {
	return audit.Record{Caller: caller, Operation: operation, Action: access.Use, CredentialID: id}
}

// generationOf returns the Generation that answers a caller.
func (b *Broker) generationOf(caller Caller) *Generation {
	if caller.By != nil {
		return caller.By
	}
	return b.current.Load()
}
