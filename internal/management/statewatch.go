package management

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
)

const (
	// maxStates is the maximum number of credentials in one StateChanges.
	maxStates = 500
	// maxWatched is the maximum number of IDs in a request for a watch.
	maxWatched = 1000
	// recheckInterval is the time between two checks of credentials whose state changes when their
	// token ends.
	recheckInterval = time.Second
)

// StateChanges are changes of credentials that the watcher may view.
type StateChanges struct {
	Changed []*Credential
	// Removed are the IDs of credentials that were sent before, but are not part of the watch any
	// more: they were deleted, the filter no longer matches them, or the watcher may no longer view
	// them.
	Removed []string
	// Complete is true once all credentials have been sent.
	Complete bool
}

// StateWatch sends the credentials that a caller may view, and then their changes. Only one
// goroutine may call Next, and must call Close in the end.
type StateWatch struct {
	service  *Service
	caller   Caller
	verify   func(context.Context) (Caller, error)
	matches  func(*Credential) bool
	only     []string // sorted IDs of the only credentials to watch; nil for all credentials
	changes  *broker.StateWatch
	queue    []string            // IDs of credentials that may have changed
	sent     map[string]uint64   // fingerprints of the credentials that were sent, by ID
	expiring map[string]struct{} // IDs of credentials whose state changes when their token ends
	complete bool
}

var fingerprints = maphash.MakeSeed()

// WatchStates starts a watch of the credentials that match a filter, as in a Selection. If there are
// IDs, only credentials with these IDs are watched. The function `verify` authenticates the caller
// again, with the newest configuration.
func (s *Service) WatchStates(caller Caller, filter string, ids []string, verify func(context.Context) (Caller, error)) (*StateWatch, error) {
	var problems violations
	matches, err := parseFilter(filter)
	if err != nil {
		problems.add("filter", err.Error())
	}
	if len(ids) > maxWatched {
		problems.add("credential_ids", "must have at most "+strconv.Itoa(maxWatched)+" IDs")
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	w := &StateWatch{
		service: s, caller: caller, verify: verify, matches: matches, changes: s.options.Server.WatchStates(),
		sent: map[string]uint64{}, expiring: map[string]struct{}{},
	}
	if len(ids) > 0 {
		w.only = slices.Compact(slices.Sorted(slices.Values(ids)))
	}
	w.queue = w.all()
	return w, nil
}

// all returns the IDs of all credentials to look at.
func (w *StateWatch) all() []string {
	if w.only != nil {
		return w.only
	}
	return slices.Collect(w.service.ids(w.caller, ""))
}

// Close ends the watch.
func (w *StateWatch) Close() { w.changes.Close() }

// Next waits for the next changes and returns them. The first calls return all credentials, in
// parts.
func (w *StateWatch) Next(ctx context.Context) (StateChanges, error) {
	for {
		if len(w.queue) == 0 && w.complete {
			if err := w.await(ctx); err != nil {
				return StateChanges{}, err
			}
		}
		first := !w.complete
		part := w.queue[:min(maxStates, len(w.queue))]
		w.queue = w.queue[len(part):]
		var changes StateChanges
		for _, id := range part {
			w.look(id, &changes)
		}
		w.complete = w.complete || len(w.queue) == 0
		changes.Complete = w.complete
		if len(changes.Changed)+len(changes.Removed) > 0 || first && w.complete {
			return changes, nil
		}
	}
}

// await waits for changes, and puts the IDs of the credentials that may have changed into the
// queue.
func (w *StateWatch) await(ctx context.Context) error {
	waiting := ctx
	if len(w.expiring) > 0 {
		limited, cancel := context.WithTimeout(ctx, recheckInterval)
		defer cancel()
		waiting = limited
	}
	ids, all, err := w.changes.Next(waiting)
	switch {
	case err != nil && ctx.Err() == nil && waiting.Err() != nil:
		w.queue = slices.Collect(maps.Keys(w.expiring))
		return nil
	case err != nil:
		return err
	case !all:
		w.queue = slices.DeleteFunc(ids, func(id string) bool {
			_, found := slices.BinarySearch(w.only, id)
			return w.only != nil && !found
		})
		return nil
	}
	if w.caller, err = w.verify(ctx); err != nil {
		return err
	}
	w.queue = w.all()
	gone := maps.Clone(w.sent)
	for _, id := range w.queue {
		delete(gone, id)
	}
	w.queue = slices.AppendSeq(slices.Clip(w.queue), maps.Keys(gone)) // Clip: do not append to `only`
	return nil
}

// look adds a credential to the changes if it differs from what the watcher last received.
func (w *StateWatch) look(id string, changes *StateChanges) {
	delete(w.expiring, id)
	object := access.Object{CredentialID: id, Provider: w.service.providerOf(w.caller.Config, id)}
	var found *Credential
	if w.caller.Config.Policy.Decide(&w.caller.Caller, access.View, object).Allowed {
		found = w.service.view(w.caller.Config, id)
	}
	before, sent := w.sent[id]
	if found == nil || found.Deleted() || !w.matches(found) {
		if sent {
			delete(w.sent, id)
			changes.Removed = append(changes.Removed, id)
		}
		return
	}
	state, since := w.service.State(found)
	if state == broker.RenewalFailing {
		w.expiring[id] = struct{}{}
	}
	now := maphash.String(fingerprints, fmt.Sprint(*found, state, since))
	if !sent || now != before {
		w.sent[id] = now
		changes.Changed = append(changes.Changed, found)
	}
}
