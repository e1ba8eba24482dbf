package broker

import "sync"

// watches are all that follow something. Its zero value is ready.
type watches struct {
	mu   sync.RWMutex
	all  map[*Watch]bool
	byID map[string]map[*Watch]bool
}

func (w *watches) add(watch *Watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all, w.byID = map[*Watch]bool{}, map[string]map[*Watch]bool{}
	}
	w.all[watch] = true
	for _, s := range watch.slots {
		if w.byID[s.id] == nil {
			w.byID[s.id] = map[*Watch]bool{}
		}
		w.byID[s.id][watch] = true
	}
}

func (w *watches) remove(watch *Watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, watch)
	for _, s := range watch.slots {
		delete(w.byID[s.id], watch)
		if len(w.byID[s.id]) == 0 {
			delete(w.byID, s.id)
		}
	}
}

// len is how many there are.
func (w *watches) len() int {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return len(w.all)
}

// touchAll tells all of them that any state may have changed.
func (w *watches) touchAll() {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for watch := range w.all {
		watch.touchAll()
	}
}

// touch tells those that follow one of the IDs that its state may have changed.
func (w *watches) touch(ids ...string) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, id := range ids {
		for watch := range w.byID[id] {
			watch.touch(id)
		}
	}
}
