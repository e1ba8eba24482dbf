package broker

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/token"
)

// formerRefresh is how soon callers are to ask again who get the former token.
const formerRefresh = time.Second

// former is the decoration of a credential before its secret changed. It is served
// until the new secret has produced a token: 10 seconds at most, and to the token's
// end when the new secret is refused. It may be sent where both the former and the
// present configuration allow it, and is for callers that both allow it: the credential
// may be another account now, and another's.
type former struct {
	decoration *Decoration
	policy     *access.Policy // of the former configuration
	token      *token.Token
	until      time.Time
	refused    atomic.Bool
}

// serves reports whether the former decoration is still to be served.
func (f *former) serves(now time.Time) bool {
	if f == nil || !now.Before(f.token.LastEnd()) {
		return false
	}
	return f.refused.Load() || now.Before(f.until)
}

// within returns f for what the configuration of a allows, or nil for nothing.
func (f *former) within(a *account) *former {
	narrowed := f.decoration.clone()
	narrowed.RejectedStatuses = a.credential.Method.RejectedStatuses
	narrowed.AllowedHosts = nil
	for _, host := range f.decoration.AllowedHosts {
		if slices.Contains(a.credential.AllowedHosts, host) {
			narrowed.AllowedHosts = append(narrowed.AllowedHosts, host)
		}
	}
	if narrowed.AllowedHosts == nil {
		return nil
	}
	f.decoration = narrowed
	return f
}

// isFor reports whether a caller that may use the credential could do so before.
func (f *former) isFor(caller access.Caller, of *credentials.Credential) bool {
	return f.policy.Decide(caller.Name, access.Use, access.Object{CredentialID: of.ID, Provider: of.Provider.ID}).Allowed
}

// formerOf returns what is served of an account while it has no token, or nil.
func (b *Broker) formerOf(a *account) *former {
	f := a.former.Load()
	if !f.serves(b.clock.Now()) {
		return nil
	}
	if _, ok := b.tokens.Held(a.source); ok {
		return nil // takeOver has not heard of it yet
	}
	return f
}

// formerDecoration returns what to serve a caller while there is no token, or nil.
func (b *Broker) formerDecoration(a *account, caller access.Caller) *Decoration {
	f := b.formerOf(a)
	if f == nil || !f.isFor(caller, a.credential) {
		return nil
	}
	served := f.decoration.clone()
	served.RefreshTime = b.clock.Now().Add(formerRefresh)
	b.setAnswer(served)
	return served
}
