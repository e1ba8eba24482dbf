package broker

import (
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/fault"
)

const (
	// gracePatience is how long the broker serves the decoration of the previous secret (grace
	// decoration) while the provider has neither issued a token for the new secret nor rejected the
	// secret.
	gracePatience = 10 * time.Second
	// The RefreshTime of a grace decoration is graceRefresh after the call that gets it.
	graceRefresh = time.Second
	// minRetryDelay is the minimum delay between two requests for the first token of a new secret.
	minRetryDelay = 100 * time.Millisecond
)

// grace describes the decoration of the previous secret (grace decoration) of a credential whose
// secret has changed. Until the provider issues a token for the new secret, the credential
// continues to serve the latest decoration of its previous account: for at most gracePatience or,
// if the provider rejects the new secret, until the previous token expires. The new secret may
// belong to another tenant of the provider, so the grace decoration is served only for hosts and
// callers that both the previous and the new configuration allow.
type grace struct {
	previous *account
	policy   *access.Policy // the policy of the previous configuration
	until    time.Time
	rejected bool // whether the provider rejects the new secret
}

// inherit makes the account `a`, which replaces the account `old`, serve the decoration of a
// previous secret (grace decoration) if possible, and reports whether `a` now has one. If the two
// accounts belong to different providers, `a` gets no grace decoration. The caller must hold b.mu.
func (b *Broker) inherit(a, old *account, previous *Generation) bool {
	if old == nil || old.source == nil || a.source == nil || old.credential.Provider.ID != a.credential.Provider.ID {
		return false
	}
	if _, ok := b.options.Tokens.Current(a.source); ok {
		return false
	}
	now := b.options.Clock.Now()
	next := &grace{previous: old, policy: previous.Config.Policy, until: now.Add(gracePatience)}
	if t, ok := b.options.Tokens.Current(old.source); ok {
		if _, err := b.decorate(old, t, now); err != nil {
			return false
		}
	} else if g := b.graceOf(old); g != nil { // no token was issued for the previous secret either
		next.previous, next.policy = g.previous, g.policy
		if a.tokenKey == old.tokenKey {
			next.until, next.rejected = g.until, g.rejected
		}
	} else {
		return false
	}
	if len(commonHosts(a, next.previous)) == 0 {
		return false
	}
	a.grace.Store(next)
	return true
}

func commonHosts(a, b *account) []string {
	var hosts []string
	for _, host := range b.credential.AllowedHosts {
		if slices.Contains(a.credential.AllowedHosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// graceOf returns the description of the grace decoration that an account may serve now, or nil if
// there is none.
func (b *Broker) graceOf(a *account) *grace {
	g, now := a.grace.Load(), b.options.Clock.Now()
	if g == nil || !now.Before(g.tokenEnd()) || !g.rejected && !now.Before(g.until) {
		return nil
	}
	return g
}

func (g *grace) tokenEnd() time.Time { return g.previous.latest.Load().token.LastEnd() }

// graceDecoration returns the decoration of the previous secret (grace decoration) that an account
// has for a caller. The result is nil if the account has no grace decoration, or if this caller may
// not get it.
func (b *Broker) graceDecoration(a *account, caller access.Caller) *Decoration {
	g := b.graceOf(a)
	if g == nil || !allows(g.policy, caller, a) {
		return nil
	}
	d, now := *g.previous.latest.Load(), b.options.Clock.Now()
	d.AllowedHosts = commonHosts(a, g.previous)
	d.RejectedStatuses, d.RejectedWhen = a.credential.Method.RejectedStatuses, a.credential.Method.RejectedWhen
	d.refresh = now.Add(graceRefresh)
	b.finish(&d, now)
	return &d
}

// fetchFirstToken requests the first token of an account that may serve the decoration of its
// previous secret (grace decoration). The requests are repeated until a token is issued, the grace
// decoration may no longer be served, or another account replaces this one.
func (b *Broker) fetchFirstToken(a *account) {
	for {
		retry, ok := b.inGrace(a)
		if !ok {
			return
		}
		_, err := b.options.Tokens.Token(b.ctx, a.source)
		if err == nil {
			a.grace.Store(nil)
			continue
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

// inGrace reports whether fetchFirstToken must still request a token. The returned channel is
// closed when fetchFirstToken must try again at once. If the grace decoration of the account may no
// longer be served, inGrace removes it.
func (b *Broker) inGrace(a *account) (retry <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil || !b.current.Load().serves(a) {
		return nil, false // the grace decoration is kept, because calls that use the replaced account still get it
	}
	if b.graceOf(a) == nil {
		a.grace.Store(nil)
		b.mark(a.credential.ID)
		return nil, false
	}
	return b.retry, true
}

// noteRejectedSecret makes an account serve its grace decoration until the previous token expires,
// and logs the rejection once.
func (b *Broker) noteRejectedSecret(a *account, message string) {
	g := a.grace.Load()
	if g == nil || g.rejected {
		return
	}
	next := *g
	next.rejected = true
	if a.grace.CompareAndSwap(g, &next) { // the swap fails if TokenChanged has removed the grace decoration
		b.options.Logger.Error("the provider rejects the changed secret: the previous token is served until it ends",
			"credential_id", a.credential.ID, "stored_version", a.version, "end", b.wall(g.tokenEnd()), "message", message)
	}
}

// RefusedSecrets returns the number of credentials that still use a token of their previous secret
// because the provider rejects the new one.
func (b *Broker) RefusedSecrets() int {
	count := 0
	for _, a := range b.index.accounts() {
		if g := b.graceOf(a); g != nil && g.rejected {
			count++
		}
	}
	return count
}

func allows(policy *access.Policy, caller access.Caller, a *account) bool {
	object := access.Object{CredentialID: a.credential.ID, Provider: a.credential.Provider.ID}
	return policy.Decide(&caller, access.Use, object).Allowed
}
