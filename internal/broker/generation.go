package broker

import (
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/strategies"
)

// Load is what the broker serves: a configuration and the managed credentials.
type Load struct {
	// Config is the configuration with its credentials and policy. Required.
	Config *config.Config
	// Callers authenticates callers. The Broker itself does not use Callers, which may be nil if no
	// other code needs it.
	Callers *authentication.Set
	// Managed are all managed credentials. If Config declares a credential with the same ID, the
	// declared credential is served.
	Managed []*credentials.Credential
}

// Generation contains everything that the broker derives from one Load. The broker makes a new
// Generation for a new Load, and after a change of managed credentials or of the keys that
// authenticate callers. A call reads the current Generation once, and uses it until the call ends.
// A Generation is immutable, except for cached results.
type Generation struct {
	// Config and Callers are the fields of the Load with the same names.
	Config  *config.Config
	Callers *authentication.Set

	// Number changes when callers must be authenticated again: with each Load, and with each
	// change of the keys that authenticate callers. Cached results that belong to a Generation
	// should store its number: a pointer would keep the Generation in memory.
	Number uint64

	entries   *entries // includes disabled credentials
	decisions *decisions
	pending   bool // whether the managed credentials are still unknown
}

// decisions caches access decisions.
type decisions struct {
	seed  maphash.Seed
	slots [decisionSlots]atomic.Pointer[decision]
}

func newDecisions() *decisions { return &decisions{seed: maphash.MakeSeed()} }

type account struct {
	credential *credentials.Credential
	source     *strategies.TokenSource // source of the account's tokens; nil if the material is static or the credential is disabled
	tokenKey   string                  // source's token key
	version    int                     // number of the version; 0 for a declared credential
	latest     atomic.Pointer[Decoration]
	grace      atomic.Pointer[grace]     // describes the decoration of a previous secret (grace decoration); nil if the account has none
	rejection  atomic.Pointer[rejection] // the latest report that static material was rejected; nil if there was none
	attempt    atomic.Pointer[Attempt]   // the latest token request; nil if there was none
	reports    atomic.Int64              // number of reports that the material was rejected
	reported   atomic.Pointer[time.Time] // when the latest of these reports arrived; nil if there was none
}

// newGeneration returns the Generation of a Load. Accounts whose material has not changed are
// those of the previous Generation.
func (b *Broker) newGeneration(load Load, previous *Generation) (*Generation, error) {
	changed := make(map[string]*entry, load.Config.Credentials.Len()+len(load.Managed))
	for _, credential := range load.Managed {
		changed[credential.ID] = newEntry(credential, previous.entries.get(credential.ID))
	}
	for credential := range load.Config.Credentials.All() {
		e := newEntry(credential, previous.entries.get(credential.ID))
		changed[credential.ID] = e
		if e.opened.Load() != nil {
			continue
		}
		a, err := b.newAccount(credential)
		if err != nil {
			return nil, fmt.Errorf("credential %q: %w", credential.ID, err)
		}
		e.opened.Store(a)
	}
	return &Generation{
		Config: load.Config, Callers: load.Callers, Number: previous.Number + 1,
		entries: newEntries().with(changed), decisions: newDecisions(),
		pending: previous.pending && load.Managed == nil,
	}, nil
}

// replace makes a Generation the current one. The parameter `ids` lists the credential IDs whose
// entries may have changed. The caller must hold b.mu.
func (b *Broker) replace(next *Generation, ids []string) {
	previous := b.current.Load()
	var inGrace []*account
	for _, id := range ids {
		if e, old := next.entries.get(id), previous.entries.get(id); e != nil && e != old {
			for _, version := range e.versions() {
				if b.succeed(version, version == e, old, previous) {
					inGrace = append(inGrace, version.opened.Load())
				}
			}
		}
	}
	for _, id := range ids {
		b.warm.note(id, next.entries.get(id))
	}
	b.current.Store(next)
	if b.ctx.Err() == nil {
		for _, a := range inGrace {
			b.background.Go(func() { b.fetchFirstToken(a) })
		}
	}
	unused, waiting := false, false
	for _, id := range ids {
		if e, old := next.entries.get(id), previous.entries.get(id); old != nil && e != old {
			for _, version := range old.versions() {
				unused = b.index.remove(version) || unused
				waiting = waiting || version.inGrace()
			}
		}
	}
	if waiting {
		b.retryRefused() // retryRefused also ends the token requests of accounts that were replaced
	}
	if unused {
		b.options.Tokens.Retain(b.index.has)
	}
}

// succeed prepares an entry that replaces the entry `old` of the same ID. The parameter `active` is
// false if the entry is a canary. The result reports whether the entry's account now serves the
// decoration of its previous secret (grace decoration).
func (b *Broker) succeed(e *entry, active bool, old *entry, previous *Generation) bool {
	if e.opened.Load() != nil {
		b.index.add(e)
	}
	if old == nil {
		return false
	}
	was := old.opened.Load()
	if was == nil {
		return false // no caller has used the credential, so its values stay encrypted
	}
	a, err := b.account(e)
	if err != nil || a == was || old.has(a) && (!active || a.grace.Load() != nil) {
		return false // an account that was the canary's may still have no token when it becomes active
	}
	if !was.credential.Disabled && a.rejection.Load() == nil {
		a.rejection.Store(was.rejection.Load())
	}
	if a.tokenKey != "" && a.tokenKey == was.tokenKey {
		a.attempt.Store(was.attempt.Load())
		a.reports.Store(was.reports.Load())
		a.reported.Store(was.reported.Load())
	}
	return b.inherit(a, was, previous)
}

// serves reports whether calls can use an account.
func (g *Generation) serves(a *account) bool {
	e := g.entries.get(a.credential.ID)
	return e != nil && e.has(a)
}
