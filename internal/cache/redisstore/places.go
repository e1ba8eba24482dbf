package redisstore

import (
	"slices"
	"strings"
	"sync"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

// prefix begins every key. It holds the version of the format: a broker that writes
// another one does not see these keys.
const prefix = "authmaterial:1:"

// place is where what is known of one token lies: a few keys with one hash tag, which a
// Cluster keeps together.
type place struct {
	name     string // an HMAC of the token's key
	token    string // sealed; lives as long as the token
	failure  string // sealed; lives until it is of no interest
	lock     string // the owner; lives 3 seconds, and is renewed
	rejected string // a list of fingerprints
	forced   string // a list of times in milliseconds
}

func newPlace(name string) place {
	key := func(what string) string { return prefix + "{" + name + "}:" + what }
	return place{
		name: name, token: key("token"), failure: key("failure"), lock: key("lock"),
		rejected: key("rejected"), forced: key("forced"),
	}
}

// places finds the places of tokens, one for each fleet key. Those that were asked for
// are remembered, so that news of a place can be understood.
type places struct {
	keys *fleetkeys.Ring

	mu     sync.RWMutex
	byKey  map[string][]place
	byName map[string]string // a token's key by the name of a place
}

func newPlaces(keys *fleetkeys.Ring) *places {
	return &places{keys: keys, byKey: map[string][]place{}, byName: map[string]string{}}
}

// of returns the places of a token: what this replica writes goes to the first.
func (p *places) of(key string) []place {
	p.mu.RLock()
	known := p.byKey[key]
	p.mu.RUnlock()
	if known != nil {
		return known
	}
	for _, name := range p.keys.Names(key) {
		known = append(known, newPlace(name))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byKey[key] = known
	for _, place := range known {
		p.byName[place.name] = key
	}
	return known
}

// key returns the key of the token that has a place of this name.
func (p *places) key(name string) (key string, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	key, ok = p.byName[name]
	return key, ok
}

// all returns every place that is known.
func (p *places) all() []place {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var all []place
	for _, known := range p.byKey {
		all = append(all, known...)
	}
	return all
}

// retain forgets the places of the keys that keep does not approve of.
func (p *places) retain(keep func(key string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, known := range p.byKey {
		if keep(key) {
			continue
		}
		delete(p.byKey, key)
		for _, place := range known {
			delete(p.byName, place.name)
		}
	}
}

// inLockOrder sorts places the same way in every replica, whatever the order of its fleet
// keys: two that lock more than one place never wait for each other.
func inLockOrder(places []place) []place {
	return slices.SortedFunc(slices.Values(places), func(a, b place) int { return strings.Compare(a.name, b.name) })
}
