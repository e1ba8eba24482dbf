package redisstore

import (
	"slices"
	"strings"
	"sync"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

// prefix begins every Redis key. It has the version of the format: a broker that writes another
// format does not use these keys.
const prefix = "authmaterial:1:"

// keySet is the Redis keys of one token under one fleet key. They have the same hash tag, so a
// Cluster keeps them on one node.
type keySet struct {
	name     string // an HMAC of the token's key
	token    string // encrypted; expires with the token
	failure  string // encrypted; expires when it does not matter any more
	lock     string // the owner; expires after 3 seconds, and is renewed
	rejected string // a list of fingerprints
	forced   string // a list of times in milliseconds
}

func newKeySet(name string) keySet {
	key := func(what string) string { return prefix + "{" + name + "}:" + what }
	return keySet{
		name: name, token: key("token"), failure: key("failure"), lock: key("lock"),
		rejected: key("rejected"), forced: key("forced"),
	}
}

// tokenKeys are the key sets of one token: one for each fleet key.
type tokenKeys struct {
	key string // the token's
	// primary is what this replica writes. all are in the order in which they are locked: the same
	// in every replica, so that two that lock several never wait for each other.
	primary keySet
	all     []keySet
	// changed is closed with the next news of the token. tokenIndex.mu guards it.
	changed chan struct{}
}

// tokenIndex has the keys of the tokens that this replica was asked for.
type tokenIndex struct {
	ring *fleetkeys.Ring

	mu     sync.Mutex
	byKey  map[string]*tokenKeys
	byName map[string]*tokenKeys // by the name of each key set
}

func newTokenIndex(ring *fleetkeys.Ring) *tokenIndex {
	return &tokenIndex{ring: ring, byKey: map[string]*tokenKeys{}, byName: map[string]*tokenKeys{}}
}

// of returns the keys of a token, and adds them to the index.
func (x *tokenIndex) of(key string) *tokenKeys {
	x.mu.Lock()
	defer x.mu.Unlock()
	if known := x.byKey[key]; known != nil {
		return known
	}
	t := &tokenKeys{key: key, changed: make(chan struct{})}
	for _, name := range x.ring.Names(key) {
		t.all = append(t.all, newKeySet(name))
		x.byName[name] = t
	}
	t.primary = t.all[0]
	slices.SortFunc(t.all, func(a, b keySet) int { return strings.Compare(a.name, b.name) })
	x.byKey[key] = t
	return t
}

// news returns a channel that is closed with the next news of the token.
func (x *tokenIndex) news(t *tokenKeys) <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return t.changed
}

// wake tells those who wait for news of the token with a name. It returns the token's key.
func (x *tokenIndex) wake(name string) (key string, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.byName[name]
	if t == nil {
		return "", false
	}
	t.wake()
	return t.key, true
}

// wakeAll tells all who wait for news.
func (x *tokenIndex) wakeAll() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range x.byKey {
		t.wake()
	}
}

// wake is called with tokenIndex.mu locked.
func (t *tokenKeys) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// failures returns the Redis key of each failure.
func (x *tokenIndex) failures() (keys []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range x.byKey {
		for _, set := range t.all {
			keys = append(keys, set.failure)
		}
	}
	return keys
}

// retain removes the tokens for which keep returns false from the index.
func (x *tokenIndex) retain(keep func(key string) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for key, t := range x.byKey {
		if keep(key) {
			continue
		}
		t.wake()
		delete(x.byKey, key)
		for _, set := range t.all {
			delete(x.byName, set.name)
		}
	}
}
