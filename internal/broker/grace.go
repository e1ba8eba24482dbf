package broker

import (
	"log/slog"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/fault"
)

const (
	// gracePatience is how long a grace decoration is served while the new secret has neither
	// produced a token nor been rejected.
	gracePatience = 10 * time.Second
	// graceRefresh is the time until the RefreshTime of a grace decoration.
	graceRefresh = time.Second
	// minRetryDelay is the minimum delay between requests for the first token of a new secret.
	minRetryDelay = 100 * time.Millisecond
)

// grace is the decoration that a credential had before its secret changed. It is served until the
// new secret has produced a token: for gracePatience, or until its own token ends if the provider
// rejects the new secret. The credential may be the account of another tenant now. So the
// decoration is for hosts and callers that both the previous and the new configuration allow.
type grace struct {
	decoration *Decoration
	policy     *access.Policy // of the previous configuration
	until      time.Time
	rejected   bool // the provider rejects the new secret
}

// inherit sets the grace decoration of account a, which replaces old, and reports whether there is
// one. Nothing is inherited from another provider. The caller holds b.mu.
func (b *Broker) inherit(a, old *account, previous *Generation) bool {
	if old == nil || old.source == nil || a.source == nil || old.credential.Provider.ID != a.credential.Provider.ID {
		return false
	}
	if _, ok := b.options.Tokens.Current(a.source); ok {
		return false
	}
	now := b.options.Clock.Now()
	next := &grace{policy: previous.Config.Policy, until: now.Add(gracePatience)}
	if t, ok := b.options.Tokens.Current(old.source); ok {
		d, err := b.decorate(old, t, now)
		if err != nil {
			return false
		}
		next.decoration = d
	} else if g := b.graceOf(old); g != nil { // the previous secret has produced no token
		next.decoration, next.policy = g.decoration, g.policy
		if a.tokenKey == old.tokenKey {
			next.until, next.rejected = g.until, g.rejected
		}
	} else {
		return false
	}
	return a.replaceGrace(nil, next)
}

// replaceGrace replaces the grace decoration of an account by the next one, limited to what the
// account's configuration allows, and reports whether it did. Without an allowed host there is none.
func (a *account) replaceGrace(present, next *grace) bool {
	limited := *next.decoration
	limited.RejectedStatuses = a.credential.Method.RejectedStatuses
	limited.AllowedHosts = nil
	for _, host := range next.decoration.AllowedHosts {
		if slices.Contains(a.credential.AllowedHosts, host) {
			limited.AllowedHosts = append(limited.AllowedHosts, host)
		}
	}
	next.decoration = &limited
	if limited.AllowedHosts == nil {
		a.grace.CompareAndSwap(present, nil)
		return false
	}
	return a.grace.CompareAndSwap(present, next)
}

// graceOf returns the grace of an account if it is not over, or nil.
func (b *Broker) graceOf(a *account) *grace {
	g, now := a.grace.Load(), b.options.Clock.Now()
	if g == nil || !now.Before(g.decoration.token.LastEnd()) || !g.rejected && !now.Before(g.until) {
		return nil
	}
	return g
}

// graceDecoration returns the decoration to serve a caller while there is no token, or nil.
func (b *Broker) graceDecoration(a *account, caller access.Caller) *Decoration {
	g := b.graceOf(a)
	if g == nil || !allows(g.policy, caller, a) {
		return nil
	}
	d, now := *g.decoration, b.options.Clock.Now()
	d.refresh = now.Add(graceRefresh)
	b.finish(&d, now)
	return &d
}

// reportGrace updates the credential's grace decoration after a report on account a replaced the
// reported version by d: a reload during the report may have made the reported version the grace
// decoration of a new account.
func (b *Broker) reportGrace(a *account, reported string, d *Decoration) {
	b.mu.Lock() // a reload that is running may be about to inherit the reported version
	defer b.mu.Unlock()
	present := b.current.Load().accounts[a.credential.ID]
	if present == nil || present == a {
		return
	}
	g := present.grace.Load()
	if g == nil || !b.hasVersion(g.decoration, reported) {
		return
	}
	next := *g
	next.decoration = d
	present.replaceGrace(g, &next)
	b.mark(a.credential.ID)
}

// fetchFirstToken requests the first token of an account that has a grace decoration, until there
// is a token, the grace is over, or the account is replaced.
func (b *Broker) fetchFirstToken(a *account) {
	for {
		retry, ok := b.inGrace(a)
		if !ok {
			return
		}
		_, err := b.options.Tokens.Token(b.ctx, a.source)
		if err == nil {
			b.endGrace(a)
			return
		}
		failure := fault.From(err)
		if failure.Reason == fault.CredentialRejected {
			b.noteRejectedSecret(a, failure.Message)
		}
		timer := b.options.Clock.NewTimer(max(failure.RetryDelay, minRetryDelay))
		select {
		case <-timer.Chan():
		case <-retry:
		case <-b.ctx.Done():
		}
		timer.Stop()
	}
}

// inGrace reports whether fetchFirstToken has to request a token, and returns the channel that is
// closed when changed secrets are tried again. It ends a grace that is over.
func (b *Broker) inGrace(a *account) (retry <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil || b.current.Load().accounts[a.credential.ID] != a {
		return nil, false // calls that use the replaced account still get the grace decoration
	}
	if b.graceOf(a) == nil {
		b.endGrace(a)
		return nil, false
	}
	return b.retry, true
}

func (b *Broker) endGrace(a *account) {
	a.grace.Store(nil)
	b.mark(a.credential.ID)
}

// noteRejectedSecret prolongs a grace until its token ends, and logs that once.
func (b *Broker) noteRejectedSecret(a *account, message string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := a.grace.Load()
	if g == nil || g.rejected {
		return
	}
	next := *g
	next.rejected = true
	if a.grace.CompareAndSwap(g, &next) {
		b.options.Logger.LogAttrs(b.ctx, slog.LevelError, "the provider rejects the changed secret: the previous token is served until it ends",
			slog.String("credential_id", a.credential.ID), slog.Time("end", b.wall(g.decoration.token.LastEnd())), slog.String("message", message))
	}
}

// RefusedSecrets returns how many credentials are served by their previous token because the
// provider rejects the changed secret.
func (b *Broker) RefusedSecrets() int {
	count := 0
	for _, a := range b.current.Load().accounts {
		if g := b.graceOf(a); g != nil && g.rejected {
			count++
		}
	}
	return count
}

// allows reports whether a policy allows a caller to use an account.
func allows(policy *access.Policy, caller access.Caller, a *account) bool {
	object := access.Object{CredentialID: a.credential.ID, Provider: a.credential.Provider.ID}
	return policy.Decide(caller.Name, access.Use, object).Allowed
}
