package broker

import (
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

// grace lets a credential whose secret changed serve the latest decoration of its previous account,
// until the new secret has produced a token: for gracePatience, or until the previous token ends if
// the provider rejects the new secret. The credential may be the account of another tenant now. So
// the decoration is for hosts and callers that both the previous and the new configuration allow.
type grace struct {
	previous *account
	policy   *access.Policy // of the previous configuration
	until    time.Time
	rejected bool // the provider rejects the new secret
}

// inherit sets the grace of account a, which replaces old, and reports whether there is one. Nothing
// is inherited from another provider. The caller holds b.mu.
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
	} else if g := b.graceOf(old); g != nil { // the previous secret has produced no token
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

// commonHosts returns the hosts to which the material of both accounts may be sent.
func commonHosts(a, b *account) []string {
	var hosts []string
	for _, host := range b.credential.AllowedHosts {
		if slices.Contains(a.credential.AllowedHosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// graceOf returns the grace of an account if it is not over, or nil.
func (b *Broker) graceOf(a *account) *grace {
	g, now := a.grace.Load(), b.options.Clock.Now()
	if g == nil || !now.Before(g.tokenEnd()) || !g.rejected && !now.Before(g.until) {
		return nil
	}
	return g
}

// tokenEnd returns when the provider stops accepting the previous token.
func (g *grace) tokenEnd() time.Time { return g.previous.latest.Load().token.LastEnd() }

// graceDecoration returns the decoration to serve a caller while there is no token, or nil.
func (b *Broker) graceDecoration(a *account, caller access.Caller) *Decoration {
	g := b.graceOf(a)
	if g == nil || !allows(g.policy, caller, a) {
		return nil
	}
	d, now := *g.previous.latest.Load(), b.options.Clock.Now()
	d.AllowedHosts, d.RejectedStatuses = commonHosts(a, g.previous), a.credential.Method.RejectedStatuses
	d.refresh = now.Add(graceRefresh)
	b.finish(&d, now)
	return &d
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

// inGrace reports whether fetchFirstToken has to request a token, and returns the channel that is
// closed when changed secrets are tried again. It ends a grace that is over.
func (b *Broker) inGrace(a *account) (retry <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil || b.current.Load().accounts[a.credential.ID] != a {
		return nil, false // calls that use the replaced account still get the grace decoration
	}
	if b.graceOf(a) == nil {
		a.grace.Store(nil)
		b.mark(a.credential.ID)
		return nil, false
	}
	return b.retry, true
}

// noteRejectedSecret prolongs a grace until its token ends, and logs that once.
func (b *Broker) noteRejectedSecret(a *account, message string) {
	g := a.grace.Load()
	if g == nil || g.rejected {
		return
	}
	next := *g
	next.rejected = true
	if a.grace.CompareAndSwap(g, &next) { // otherwise TokenChanged has ended the grace
		b.options.Logger.Error("the provider rejects the changed secret: the previous token is served until it ends",
			"credential_id", a.credential.ID, "end", b.wall(g.tokenEnd()), "message", message)
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
