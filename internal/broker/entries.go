package broker

import (
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/strategies"
)

// entry is a credential of a Generation, with its account. A managed credential with a canary has a
// second entry, for the canary. The account of an entry is made at the first use of the credential,
// because the values of a managed credential stay encrypted until then.
type entry struct {
	credential *credentials.Credential
	canary     *entry // entry of the canary; nil if there is none
	opening    sync.Mutex
	opened     atomic.Pointer[account]
	unusable   atomic.Pointer[time.Time] // time at which making the account failed; nil if it did not fail
	removed    bool                      // set when no Generation uses the entry any more; guarded by the mutex of the tokenIndex
}

// forCaller returns the entry of the canary if the caller gets the canary, and otherwise `e`.
func (e *entry) forCaller(caller *access.Caller) *entry {
	if e.canary != nil && caller.Matches(e.credential.Canary.Callers) {
		return e.canary
	}
	return e
}

// versions returns `e` and the entry of its canary, if there is one.
func (e *entry) versions() []*entry {
	if e.canary == nil {
		return []*entry{e}
	}
	return []*entry{e, e.canary}
}

// `has` reports whether `a` is the account of the credential or of its canary.
func (e *entry) has(a *account) bool {
	return e.opened.Load() == a || e.canary != nil && e.canary.opened.Load() == a
}

// inGrace reports whether the entry's account may serve the decoration of its previous secret
// (grace decoration).
func (e *entry) inGrace() bool {
	a := e.opened.Load()
	return a != nil && a.grace.Load() != nil
}

// newEntry returns the entry of a credential. The previous entry `old` of this credential may be
// nil. If `old` or its canary has an account with the same material, the new entry has the same
// account.
func newEntry(credential *credentials.Credential, old *entry) *entry {
	e := &entry{credential: credential}
	if credential.Canary != nil {
		e.canary = &entry{credential: credential.Canary.Credential}
	}
	if old == nil {
		return e
	}
	for _, next := range e.versions() {
		for _, known := range old.versions() {
			if a := known.opened.Load(); a != nil && next.sameMaterial(known) {
				next.opened.Store(a)
			}
		}
	}
	return e
}

// sameMaterial reports whether two entries result in the same account.
func (e *entry) sameMaterial(other *entry) bool {
	return e.credential.Disabled == other.credential.Disabled && e.credential.SameMaterial(other.credential)
}

// account returns the account of an entry, and makes it if necessary.
func (b *Broker) account(e *entry) (*account, error) {
	if a := e.opened.Load(); a != nil {
		return a, nil
	}
	e.opening.Lock()
	defer e.opening.Unlock()
	if a := e.opened.Load(); a != nil {
		return a, nil
	}
	if e.unusable.Load() != nil {
		return nil, fault.Opaque()
	}
	a, err := b.newAccount(e.credential)
	if err != nil {
		b.options.Logger.Error("the stored values of a credential cannot be used",
			"credential_id", e.credential.ID, "stored_version", e.credential.Stored.Number, "problem", err)
		now := b.options.Clock.Now()
		e.unusable.Store(&now)
		b.noteState(e.credential.ID)
		return nil, fault.Opaque()
	}
	e.opened.Store(a)
	b.index.add(e)
	b.noteState(e.credential.ID) // the token may be known already, from a credential with the same values
	return a, nil
}

func (b *Broker) newAccount(credential *credentials.Credential) (*account, error) {
	if credential.Disabled {
		return &account{credential: credential}, nil
	}
	if credential.Stored != nil {
		values, err := credential.Stored.Open()
		if err != nil {
			return nil, err
		}
		open := *credential
		open.Values = values
		credential = &open
	}
	if problems := strategies.Check(credential); problems != nil {
		return nil, problems[0]
	}
	a := &account{credential: credential}
	if credential.Stored != nil {
		a.version = credential.Stored.Number
	}
	if credential.Method.HasToken() {
		var err error
		if a.source, err = strategies.NewTokenSource(credential, b.options.TokenClient); err != nil {
			return nil, err
		}
		a.tokenKey = a.source.TokenKey()
	}
	return a, nil
}

// entries is an immutable set of entries by credential ID. The set consists of small maps, so that
// a copy with few changes shares most of them with the original.
type entries struct {
	seed   maphash.Seed
	shards [shards]map[string]*entry
}

const shards = 1024

func newEntries() *entries { return &entries{seed: maphash.MakeSeed()} }

func (s *entries) shard(id string) *map[string]*entry {
	return &s.shards[maphash.String(s.seed, id)%shards]
}

// get returns the entry of a credential ID, or nil.
func (s *entries) get(id string) *entry { return (*s.shard(id))[id] }

// `with` returns a copy of the set in which the given IDs have the given entries. An ID whose entry
// is nil has no entry in the copy.
func (s *entries) with(changed map[string]*entry) *entries {
	next := *s
	copied := map[*map[string]*entry]bool{}
	for id, e := range changed {
		shard := next.shard(id)
		if !copied[shard] {
			*shard, copied[shard] = maps.Clone(*shard), true
		}
		switch {
		case e == nil:
			delete(*shard, id)
		case *shard == nil:
			*shard = map[string]*entry{id: e}
		default:
			(*shard)[id] = e
		}
	}
	return &next
}

// `all` returns the entries of all credentials, without the entries of canaries.
func (s *entries) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, shard := range s.shards {
			for _, e := range shard {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// tokenIndex contains the accounts that were made, and finds those that use a given token.
type tokenIndex struct {
	mu    sync.Mutex
	byKey map[string][]*entry // entries whose accounts use tokens, by token key
	made  map[*entry]struct{}
}

func newTokenIndex() *tokenIndex {
	return &tokenIndex{byKey: map[string][]*entry{}, made: map[*entry]struct{}{}}
}

// add adds an entry that has an account.
func (x *tokenIndex) add(e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.made[e]; known || e.removed {
		return
	}
	x.made[e] = struct{}{}
	if key := e.opened.Load().tokenKey; key != "" {
		x.byKey[key] = append(x.byKey[key], e)
	}
}

// remove removes an entry that no Generation uses any more. The result reports whether no other
// account uses the token of the entry.
func (x *tokenIndex) remove(e *entry) (unused bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.removed = true
	if _, known := x.made[e]; !known {
		return false
	}
	delete(x.made, e)
	key := e.opened.Load().tokenKey
	if key == "" {
		return false
	}
	x.byKey[key] = slices.DeleteFunc(x.byKey[key], func(other *entry) bool { return other == e })
	if len(x.byKey[key]) > 0 {
		return false
	}
	delete(x.byKey, key)
	return true
}

// `has` reports whether an account uses a token.
func (x *tokenIndex) has(tokenKey string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.byKey[tokenKey]) > 0
}

// users returns the accounts that use a token.
func (x *tokenIndex) users(tokenKey string) []*account {
	x.mu.Lock()
	defer x.mu.Unlock()
	var users []*account
	for _, e := range x.byKey[tokenKey] {
		users = append(users, e.opened.Load())
	}
	return users
}

// accounts returns all accounts that were made.
func (x *tokenIndex) accounts() []*account {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]*account, 0, len(x.made))
	for e := range x.made {
		all = append(all, e.opened.Load())
	}
	return all
}
