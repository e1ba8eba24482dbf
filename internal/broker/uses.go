package broker

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxUses is the maximum number of uses of one credential. When this maximum is reached, the
	// less recent half of the uses is dropped.
	maxUses = 200
	// UsesShown is the maximum number of uses that the method Uses returns.
	UsesShown = 100
	// usesBatch is the maximum number of uses that are saved at once.
	usesBatch = 200
)

// Use is how one caller used one version of a credential.
type Use struct {
	CredentialID string
	Caller       string
	Version      int // number of the version, or 0 for a declared credential
	// Minute is the wall-clock time of the latest call, to the minute.
	Minute time.Time
	// Count is the number of calls: all calls since the Broker was made, or those since uses were
	// last saved.
	Count int64
}

// use counts the calls of one caller for one version of a credential. Most calls only increment the
// field `calls`; only the first call in each minute locks `uses`.
type use struct {
	id, caller string
	version    int
	// The upper 32 bits of `calls` are the minute of the latest call, in minutes of Options.Clock
	// since 1970. The lower 32 bits are the number of calls that are not in `counted` yet.
	calls          atomic.Uint64
	counted, saved int64 // guarded by the mutex of `uses`
}

const callBits = 32

// uses contains the uses of all credentials.
type uses struct {
	mu           sync.Mutex
	byCredential map[string]map[useKey]*use
}

type useKey struct {
	caller  string
	version int
}

// latestUse is the latest call for which a decision was made.
type latestUse struct {
	use     *use
	minute  uint64
	version string // version of the decoration that the call got, or "" if it got none
}

// countUse counts a call for which this decision was made. The call gets this decoration or, if the
// decoration is nil, fails to get the stored version with this number. Only the first call in each
// minute, and the first call that gets another version, locks `uses` and `usages`.
func (b *Broker) countUse(by *decision, number int, d *Decoration, now time.Time) {
	minute, version := uint64(now.Unix()/60)&(1<<callBits-1), "" //nolint:gosec // times are after 1970
	if d != nil {
		number, version = d.number, d.Version
	}
	latest := by.latest.Load()
	if latest == nil || latest.minute != minute || latest.version != version || latest.use.version != number {
		latest = &latestUse{b.uses.of(by.id, by.caller, number, minute), minute, version}
		by.latest.Store(latest)
		if d != nil {
			b.noteSent(by, d, now)
		}
	}
	latest.use.calls.Add(1)
}

// noteSent notes that a decoration is sent to the caller of a decision.
func (b *Broker) noteSent(by *decision, d *Decoration, now time.Time) {
	minute := minutesOf(b.wall(now))
	b.usages.note(by.id, by.caller, versionUsage{Version: d.Version, Number: d.number, Sent: span{minute, minute}}, minute)
}

// `of` returns the use for this credential, caller and version, and records the minute of a call in
// it.
func (x *uses) of(id, caller string, version int, minute uint64) *use {
	x.mu.Lock()
	defer x.mu.Unlock()
	all, key := x.byCredential[id], useKey{caller, version}
	if all == nil {
		all = map[useKey]*use{}
		if x.byCredential == nil {
			x.byCredential = map[string]map[useKey]*use{}
		}
		x.byCredential[id] = all
	}
	u := all[key]
	if u == nil {
		if len(all) >= maxUses {
			drop(all, maxUses/2)
		}
		u = &use{id: id, caller: caller, version: version}
		all[key] = u
	}
	u.collect(minute << callBits)
	return u
}

// collect moves the number of calls to `counted`. If the given minute is later than the minute of the
// latest call, it replaces that minute. The caller must hold the mutex of `uses`.
func (u *use) collect(minute uint64) {
	for {
		calls := u.calls.Load()
		latest := calls >> callBits << callBits
		if u.calls.CompareAndSwap(calls, max(latest, minute)) {
			u.counted += int64(calls - latest) //nolint:gosec // the difference has at most 32 bits
			return
		}
	}
}

// drop removes all but the most recent uses of a credential.
func drop(all map[useKey]*use, kept int) {
	for _, u := range recent(all)[min(kept, len(all)):] {
		delete(all, useKey{u.caller, u.version})
	}
}

// `recent` returns the uses of a credential, the most recent first.
func recent(all map[useKey]*use) []*use {
	sorted := make([]*use, 0, len(all))
	for _, u := range all {
		sorted = append(sorted, u)
	}
	slices.SortFunc(sorted, func(a, b *use) int {
		return cmp.Or(cmp.Compare(b.calls.Load()>>callBits, a.calls.Load()>>callBits),
			strings.Compare(a.caller, b.caller), cmp.Compare(a.version, b.version))
	})
	return sorted
}

func (b *Broker) toUse(u *use, count int64) Use {
	minute := time.Unix(int64(u.calls.Load()>>callBits)*60, 0)
	return Use{u.id, u.caller, u.version, b.wall(minute).Truncate(time.Minute), count}
}

// Uses returns the uses of a credential, the most recent first. The counts in `all` are the calls
// since the Broker was made, and those in `unsaved` only the calls that SaveUses has not saved yet.
func (b *Broker) Uses(id string) (all, unsaved []Use) {
	b.uses.mu.Lock()
	defer b.uses.mu.Unlock()
	found := recent(b.uses.byCredential[id])
	for _, u := range found[:min(UsesShown, len(found))] {
		u.collect(0)
		all, unsaved = append(all, b.toUse(u, u.counted)), append(unsaved, b.toUse(u, u.counted-u.saved))
	}
	return all, unsaved
}

// SaveUses passes the uses since the last call of SaveUses to a function, in batches. If the
// function fails, SaveUses returns its error, and saves the rest at the next call.
func (b *Broker) SaveUses(save func([]Use) error) error {
	for batch := range slices.Chunk(b.unsavedUses(), usesBatch) {
		made := make([]Use, len(batch))
		for i, pending := range batch {
			made[i] = pending.Use
		}
		if err := save(made); err != nil {
			return err
		}
		b.uses.mu.Lock()
		for _, pending := range batch {
			pending.of.saved += pending.Count
		}
		b.uses.mu.Unlock()
	}
	return nil
}

// pendingUse is a Use that is to be saved.
type pendingUse struct {
	Use

	of *use
}

// unsavedUses returns the uses that have unsaved calls. If a credential no longer exists and all
// its calls are saved, its uses are dropped.
func (b *Broker) unsavedUses() (pending []pendingUse) {
	served := b.current.Load().entries
	b.uses.mu.Lock()
	defer b.uses.mu.Unlock()
	for id, all := range b.uses.byCredential {
		before := len(pending)
		for _, u := range all {
			u.collect(0)
			if n := u.counted - u.saved; n > 0 {
				pending = append(pending, pendingUse{b.toUse(u, n), u})
			}
		}
		if len(pending) == before && served.get(id) == nil {
			delete(b.uses.byCredential, id)
		}
	}
	return pending
}
