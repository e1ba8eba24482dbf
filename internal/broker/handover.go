package broker

import (
	"log/slog"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// handoverPatience is how long the former token is served at most while the new secret
// has neither produced one nor been refused.
const handoverPatience = 10 * time.Second

// handOver lets the new accounts of after serve the tokens of those before, until they
// have their own. It returns those accounts.
func (b *Broker) handOver(before, after *Generation) []*account {
	var changed []*account
	for id, a := range after.accounts {
		old := before.accounts[id]
		if old == nil || old == a || a.source == nil {
			continue
		}
		if f := b.handDown(old, before.policy(), a); f != nil {
			a.former.Store(f)
			changed = append(changed, a)
		}
	}
	return changed
}

// handDown returns what there is to serve of an account that is replaced, which was that
// of the credential under a policy, or nil. Nothing of one provider is for another.
func (b *Broker) handDown(old *account, policy *access.Policy, replacement *account) *former {
	if old.source == nil || old.credential.Provider.ID != replacement.credential.Provider.ID {
		return nil
	}
	sameToken := old.source.TokenKey() == replacement.source.TokenKey()
	until := b.clock.Now().Add(handoverPatience)
	if t, ok := b.tokens.Held(old.source); ok {
		if sameToken {
			return nil // it is served on
		}
		decoration, err := b.decorate(old, t, b.clock.Now())
		if err != nil {
			return nil
		}
		return (&former{decoration: decoration, policy: policy, token: t, until: until}).within(replacement)
	}
	// The change before has brought no token yet.
	f := b.formerOf(old)
	if f == nil {
		return nil
	}
	next := &former{decoration: f.decoration, policy: f.policy, token: f.token, until: until}
	if sameToken {
		next.until = f.until
		next.refused.Store(f.refused.Load())
	}
	return next.within(replacement)
}

// succeedFormer has a token served in place of the reported one, where the reported one
// is a former token by now: the secret changed while the report of account a waited.
func (b *Broker) succeedFormer(a *account, reported string, t *token.Token, decoration *Decoration) {
	b.using.Lock() // a change that is under way may be about to hand the reported one down
	defer b.using.Unlock()
	present := b.current.Load().accounts[a.credential.ID]
	if present == nil || present == a {
		return
	}
	f := present.former.Load()
	if f == nil || !b.isVersionOf(f.decoration, reported) {
		return
	}
	next := &former{decoration: decoration, policy: f.policy, token: t, until: f.until}
	next.refused.Store(f.refused.Load())
	present.former.CompareAndSwap(f, next.within(present))
	b.watches.touch(a.credential.ID)
}

// RefusedSecrets is how many credentials are served by their former token because the
// provider refuses the changed secret.
func (b *Broker) RefusedSecrets() int {
	count := 0
	for _, a := range b.current.Load().accounts {
		if f := b.formerOf(a); f != nil && f.refused.Load() {
			count++
		}
	}
	return count
}

// takeOver fetches the first token of an account that has a former one, until it has
// its own, the former one is not served any more, or the account is itself replaced.
func (b *Broker) takeOver(a *account) {
	for {
		retry := b.retries() // from before the request: none is missed
		_, err := b.tokens.Token(b.ctx, a.source)
		f := a.former.Load()
		if err == nil || f == nil {
			break
		}
		failure := fault.From(err)
		if failure.Reason == fault.CredentialRejected && b.markRefused(a) {
			b.logger.LogAttrs(b.ctx, slog.LevelError, "the provider refuses the changed secret: the former token is served until it ends",
				slog.String("credential_id", a.credential.ID), slog.Time("end", b.wall(f.token.LastEnd())), slog.String("message", failure.Message))
		}
		if !b.sleep(max(failure.RetryDelay, 100*time.Millisecond), retry) {
			return
		}
		if !b.serves(a) {
			return // calls that found it before are served the former token on
		}
		if b.formerOf(a) == nil {
			break
		}
	}
	a.former.Store(nil)
	b.watches.touch(a.credential.ID)
}

// markRefused notes that the provider refuses the changed secret, and reports whether that is
// news. Meanwhile succeedFormer puts no other former token in place: it would miss it.
func (b *Broker) markRefused(a *account) bool {
	b.using.Lock()
	defer b.using.Unlock()
	f := a.former.Load()
	return f != nil && !f.refused.Swap(true)
}

// serves reports whether the account is still that of its credential.
func (b *Broker) serves(a *account) bool {
	return b.current.Load().accounts[a.credential.ID] == a
}

// retries returns what is closed by the next RetryRefused.
func (b *Broker) retries() <-chan struct{} {
	b.using.Lock()
	defer b.using.Unlock()
	return b.retry
}

// sleep waits for the time d to pass, or for retry, and reports whether that was before
// Close.
func (b *Broker) sleep(d time.Duration, retry <-chan struct{}) bool {
	timer := b.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.Chan():
		return true
	case <-retry:
		return true
	case <-b.ctx.Done():
		return false
	}
}
