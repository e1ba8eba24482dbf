package redisstore

import (
	"maps"
	"slices"
	"sync"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

// prefix is the beginning of every Redis key. The prefix contains the version of the data format,
// because brokers that write another format must use other Redis keys.
const prefix = "authmaterial:1:"

// keySet contains the names of the Redis keys of one token under one fleet key. The keys have the
// same hash tag, so a Cluster keeps them on one node.
type keySet struct {
	name     string // an HMAC of the token key
	token    string // key of the encrypted token; expires with the token
	failure  string // key of the encrypted failure; expires when the failure has no more effect
	lock     string // key of the lock, which contains its owner's ID; expires after 3 seconds unless the owner renews it
	rejected string // key of the list of the fingerprints of rejected tokens
	forced   string // key of the list of the times of forced renewals, in milliseconds
}

func newKeySet(name string) keySet {
	key := func(what string) string { return prefix + "{" + name + "}:" + what }
	return keySet{
		name: name, token: key("token"), failure: key("failure"), lock: key("lock"),
		rejected: key("rejected"), forced: key("forced"),
	}
}

// tokenKeys contains the key sets of one token, one for each fleet key.
type tokenKeys struct {
	key string // the token key
	// The key set `primary` belongs to the first fleet key. The replica stores tokens and failures
	// only there. The list `all` contains every key set of the token, in the order in which a
	// replica locks them. Every replica uses the same order, so that two replicas never wait for
	// each other's locks.
	primary keySet
	all     []keySet
	// The channel `changed`, guarded by tokenIndex.mu, is closed when the next change of the token
	// is reported.
	changed chan struct{}
}

// tokenIndex contains the key sets of all tokens that callers have requested from this replica.
// Each token is found under the name of each of its key sets.
type tokenIndex struct {
	ring *fleetkeys.Ring

	mu     sync.Mutex
	byName map[string]*tokenKeys
}

func newTokenIndex(ring *fleetkeys.Ring) *tokenIndex {
	return &tokenIndex{ring: ring, byName: map[string]*tokenKeys{}}
}

// `of` returns the key sets for a token key, and adds them to the index.
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

// news returns a channel that is closed when the next change of the token is reported.
func (x *tokenIndex) news(t *tokenKeys) <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return t.changed
}

// wake handles a change in the key set with the given name. It wakes the goroutines that wait for a
// change of the token, and returns the token key.
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

func (x *tokenIndex) wakeAll() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range x.byName {
		t.wake()
	}
}

// wake wakes the goroutines that wait for a change of the token. The caller must hold
// tokenIndex.mu.
func (t *tokenKeys) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func (x *tokenIndex) failures() (keys []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name := range x.byName {
		keys = append(keys, newKeySet(name).failure)
	}
	return keys
}

func (x *tokenIndex) retain(keep func(key string) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	maps.DeleteFunc(x.byName, func(_ string, t *tokenKeys) bool { return !keep(t.key) })
}
