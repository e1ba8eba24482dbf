package redisstore

import (
	"maps"
	"slices"
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

// tokenIndex has the keys of the tokens that this replica was asked for, by the name of each key set.
type tokenIndex struct {
	ring *fleetkeys.Ring

	mu     sync.Mutex
	byName map[string]*tokenKeys
}

func newTokenIndex(ring *fleetkeys.Ring) *tokenIndex {
	return &tokenIndex{ring: ring, byName: map[string]*tokenKeys{}}
}

// of returns the keys of a token, and adds them to the index.
func (x *tokenIndex) of(key string) *tokenKeys {
	names := x.ring.Names(key)
	x.mu.Lock()
	defer x.mu.Unlock()
	if known := x.byName[names[0]]; known != nil {
		return known
	}
	t := &tokenKeys{key: key, primary: newKeySet(names[0]), changed: make(chan struct{})}
	for _, name := range slices.Sorted(slices.Values(names)) {
		t.all = append(t.all, newKeySet(name))
		x.byName[name] = t
	}
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
	for _, t := range x.byName {
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
	for name := range x.byName {
		keys = append(keys, newKeySet(name).failure)
	}
	return keys
}

// retain removes the tokens for which keep returns false from the index.
func (x *tokenIndex) retain(keep func(key string) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	maps.DeleteFunc(x.byName, func(_ string, t *tokenKeys) bool { return !keep(t.key) })
}
