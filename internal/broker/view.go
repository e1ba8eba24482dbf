package broker

import (
	"context"

	"github.com/authmaterial/broker/internal/access"
)

// View is what a broker serves of one configuration: its credentials and grants. Whoever
// finds out who calls by the same configuration gives it to the call, so that a name is
// judged by the grants that were written for it.
type View struct{ snapshot *snapshot }

// View returns what is served now.
func (b *Broker) View() View { return View{b.current.Load()} }

// viewKey is the key of the function that returns a call's View.
type viewKey struct{}

// WithView returns a context of calls whose caller was identified by the configuration of
// a View. The function returns that one; of a watch, it may return a later one each time.
// Without it, calls are answered from what is served when they come.
func WithView(ctx context.Context, view func() View) context.Context {
	return context.WithValue(ctx, viewKey{}, view)
}

// Identified says that the callers of open watches were identified by what is served now:
// what was denied until then is looked at again.
func (b *Broker) Identified() { b.watches.touchAll() }

// ViewOf returns the View of WithView; the zero value: the context has none.
func ViewOf(ctx context.Context) View {
	if view, ok := ctx.Value(viewKey{}).(func() View); ok {
		return view()
	}
	return View{}
}

// viewOf returns what a call's caller was identified by.
func (b *Broker) viewOf(ctx context.Context) *snapshot {
	if view := ViewOf(ctx); view.snapshot != nil {
		return view.snapshot
	}
	return b.current.Load()
}

// admitWatch is admit for a caller that may have been identified by an earlier
// configuration. Its grants have to allow the use too: the name can be another's by now.
func (b *Broker) admitWatch(ctx context.Context, caller access.Caller, id string) (a *account, grant string, err error) {
	current, identified := b.current.Load(), b.viewOf(ctx)
	a, grant, err = current.admit(current.grantsOf(caller), id)
	if err == nil && identified != current && !identified.policy.Decide(caller.Name, access.Use, a.object()).Allowed {
		return nil, "", errDenied
	}
	return a, grant, err
}

// object is the account as grants see it.
func (a *account) object() access.Object {
	return access.Object{CredentialID: a.credential.ID, Provider: a.credential.Provider.ID}
}
