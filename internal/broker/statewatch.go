package broker

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// StateWatch collects the IDs of credentials that may have changed, or whose State may have
// changed. Each ID is stored only once, however slowly the IDs are read.
type StateWatch struct {
	broker *Broker
	mu     sync.Mutex
	ids    map[string]struct{}
	all    bool
	ready  chan struct{} // has an element if there are credentials to look at
}

// WatchStates starts to watch the states of all credentials. The caller must call Close in the end.
func (b *Broker) WatchStates() *StateWatch {
	w := &StateWatch{broker: b, ids: map[string]struct{}{}, ready: make(chan struct{}, 1)}
	b.watching.Lock()
	defer b.watching.Unlock()
	b.stateWatches[w] = struct{}{}
	return w
}

// Close ends the watch.
func (w *StateWatch) Close() {
	w.broker.watching.Lock()
	defer w.broker.watching.Unlock()
	delete(w.broker.stateWatches, w)
}

// Next waits until the State of credentials may have changed, and returns their IDs. If there is a
// new Generation, `all` is true: the caller must look at all credentials, and authenticate the
// watcher again. The error is that of ctx, or a *fault.Error if the Broker closes.
func (w *StateWatch) Next(ctx context.Context) (ids []string, all bool, err error) {
	select {
	case <-w.broker.ctx.Done():
		return nil, false, errStopping
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-w.ready:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, all = slices.Collect(maps.Keys(w.ids)), w.all
	w.ids, w.all = map[string]struct{}{}, false
	return ids, all, nil
}

func (w *StateWatch) note(ids []string, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		w.ids[id] = struct{}{}
	}
	w.all = w.all || all
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// noteState must be called after the State of credentials may have changed.
func (b *Broker) noteState(ids ...string) {
	b.watching.Lock()
	defer b.watching.Unlock()
	for w := range b.stateWatches {
		w.note(ids, false)
	}
}

// ResultChanged must be called after the cache has a new token or failure for this token key.
func (b *Broker) ResultChanged(key string) { b.noteState(b.CredentialsOf(key)...) }
