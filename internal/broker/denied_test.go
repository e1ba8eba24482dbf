package broker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// askedTokens is a token cache that counts its calls. A call of a real token cache may send
// requests to Redis or to a provider.
type askedTokens struct {
	broker.Tokens
	asked atomic.Int64
}

func (a *askedTokens) WarmAt(tokenKey string, now time.Time) (*token.Token, bool) {
	a.asked.Add(1)
	return a.Tokens.WarmAt(tokenKey, now)
}

func (a *askedTokens) Current(source cache.Source) (*token.Token, bool) {
	a.asked.Add(1)
	return a.Tokens.Current(source)
}

func (a *askedTokens) Token(ctx context.Context, source cache.Source) (*token.Token, error) {
	a.asked.Add(1)
	return a.Tokens.Token(ctx, source)
}

func (a *askedTokens) Replace(ctx context.Context, source cache.Source, version string) (*token.Token, bool, error) {
	a.asked.Add(1)
	return a.Tokens.Replace(ctx, source, version)
}

// For a denied caller, the broker must not call the token cache: the duration of the call would
// reveal whether the credential exists. The audit records for existing, disabled and missing
// credentials may differ only in the credential ID.
func TestDeniedCallsTouchNothing(t *testing.T) {
	tokens, r := new(askedTokens), new(recorder)
	inWorld(t, func(w *world) {
		w.version() // after this call, the cache has a token
		if tokens.asked.Load() == 0 {
			t.Fatal("the token cache does not count its calls")
		}
		w.restrict(grant("1", "others"))
		r.take()
		tokens.asked.Store(0)
		for operation, ask := range operations {
			for _, id := range []string{"mail", "board", "off", "none"} {
				_, err := ask(w.Context(), w.broker, id)
				w.checkReason(err, fault.AccessDenied)
				records := r.take()
				if len(records) != 1 || records[0].CredentialID != id {
					t.Fatalf("%s %s: the records are %+v, want one record", operation, id, records)
				}
				if got := records[0]; got.Outcome != "ACCESS_DENIED" || got.Grant != "" || got.Version != "" || got.Caller.Name != web.Name || string(got.Operation) != operation {
					t.Errorf("%s %s: the record is %+v", operation, id, got)
				}
			}
		}
		if asked := tokens.asked.Load(); asked != 0 {
			t.Errorf("denied callers caused %d calls of the token cache", asked)
		}
	}, func(o *broker.Options) {
		tokens.Tokens = o.Tokens
		o.Tokens, o.Audit = tokens, r
	})
}
