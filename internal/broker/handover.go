package broker

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// handoverPatience is how long the former token is served at most while the new
	// secret has neither produced one nor been refused.
	handoverPatience = 10 * time.Second
	// formerRefresh is how soon callers are to ask again who get the former token.
	formerRefresh = time.Second
)

// former is the decoration of a credential before its secret changed. It is served
// until the new secret has produced a token: 10 seconds at most, and to the token's
// end when the new secret is refused.
type former struct {
	decoration *Decoration
	token      *token.Token
	until      time.Time
	refused    atomic.Bool
}

// serves says whether the former decoration is still to be served.
func (f *former) serves(now time.Time) bool {
	if f == nil || !now.Before(f.token.End()) {
		return false
	}
	return f.refused.Load() || now.Before(f.until)
}

// formerDecoration returns what to serve while there is no token, or nil.
func (b *Broker) formerDecoration(a *account) *Decoration {
	now := b.clock.Now()
	f := a.former.Load()
	if !f.serves(now) {
		return nil
	}
	served := *f.decoration
	if soon := now.Add(formerRefresh); soon.Before(served.RefreshTime) {
		served.RefreshTime = soon
	}
	return &served
}

// handOver lets the new accounts of after serve the tokens of those before, until they
// have their own. It returns those accounts.
func (b *Broker) handOver(before, after *snapshot) []*account {
	var changed []*account
	for id, a := range after.accounts {
		old := before.accounts[id]
		if old == nil || old == a || a.source == nil {
			continue
		}
		if f := b.formerOf(old, a); f != nil {
			a.former.Store(f)
			changed = append(changed, a)
		}
	}
	return changed
}

// formerOf returns what there is to serve of an account that is replaced, or nil.
func (b *Broker) formerOf(old, replacement *account) *former {
	until := b.clock.Now().Add(handoverPatience)
	if old.source == nil || old.source.TokenKey() == replacement.source.TokenKey() {
		return nil
	}
	t, ok := b.tokens.Held(old.source)
	if !ok {
		// The secret changes for the second time, and the first had no token yet.
		if f := old.former.Load(); f.serves(b.clock.Now()) {
			return &former{decoration: f.decoration, token: f.token, until: until}
		}
		return nil
	}
	decoration, err := b.decorate(old, t)
	if err != nil {
		return nil
	}
	return &former{decoration: decoration, token: t, until: until}
}

// RefusedSecrets is how many credentials are served by their former token because the
// provider refuses the changed secret.
func (b *Broker) RefusedSecrets() int {
	now := b.clock.Now()
	count := 0
	for _, a := range b.current.Load().accounts {
		if f := a.former.Load(); f.serves(now) && f.refused.Load() {
			count++
		}
	}
	return count
}

// takeOver fetches the first token of an account that has a former one, until it has
// its own, the former one is not served any more, or the account is itself replaced.
func (b *Broker) takeOver(a *account) {
	f := a.former.Load()
	for b.ctx.Err() == nil {
		_, err := b.tokens.Token(b.ctx, a.source)
		if err == nil {
			a.former.Store(nil)
			b.watches.touch(a.credential.ID)
			return
		}
		failure := fault.From(err)
		if failure.Reason == fault.CredentialRejected && !f.refused.Swap(true) {
			b.logger.LogAttrs(b.ctx, slog.LevelError, "the provider refuses the changed secret: the former token is served until it ends",
				slog.String("credential_id", a.credential.ID), slog.Time("end", f.token.End()), slog.String("message", failure.Message))
		}
		if !b.sleep(max(failure.RetryDelay, 100*time.Millisecond)) {
			return
		}
		if !f.serves(b.clock.Now()) || !b.serves(a) {
			a.former.Store(nil)
			b.watches.touch(a.credential.ID)
			return
		}
	}
}

// serves says whether the account is still that of its credential.
func (b *Broker) serves(a *account) bool {
	return b.current.Load().accounts[a.credential.ID] == a
}

// sleep waits for the time d to pass, or for RetryRefused, and says whether that was
// before Close.
func (b *Broker) sleep(d time.Duration) bool {
	b.using.Lock()
	retry := b.retry
	b.using.Unlock()
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
