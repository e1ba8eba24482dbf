package redisstore_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/testing/logtest"
	"github.com/authmaterial/broker/internal/testing/redistest"
	"github.com/authmaterial/broker/internal/token"
)

// `longest` is the maximum wait for events that always happen if the Store works.
const longest = 20 * time.Second

const key = "3f"

func at(address string) redisstore.Server { return redisstore.Server{Addresses: []string{address}} }

func open(t *testing.T, server *redistest.Server, keys *fleetkeys.Ring, change ...func(*redisstore.Options)) *redisstore.Store {
	t.Helper()
	return openAt(t, at(server.Addr()), keys, change...)
}

func openAt(t *testing.T, server redisstore.Server, keys *fleetkeys.Ring, change ...func(*redisstore.Options)) *redisstore.Store {
	t.Helper()
	options := redisstore.Options{Server: server, Keys: keys, Logger: slog.New(slog.DiscardHandler)}
	for _, change := range change {
		change(&options)
	}
	store := redisstore.New(options)
	t.Cleanup(store.Close)
	return store
}

func withClock(clock clockwork.Clock) func(*redisstore.Options) {
	return func(o *redisstore.Options) { o.Clock = clock }
}

func withObserver(observer redisstore.Observer) func(*redisstore.Options) {
	return func(o *redisstore.Options) { o.Observer = observer }
}

// A replica is the Store of one replica, with a record of its log lines, its calls of the Observer,
// and the changes that it reports to the Cache.
type replica struct {
	*redisstore.Store
	observed
	news
	log logtest.Log
}

// start returns a replica that follows the stream until the end of the test.
func start(t *testing.T, server redisstore.Server, keys *fleetkeys.Ring, change ...func(*redisstore.Options)) *replica {
	t.Helper()
	r := &replica{}
	r.Store = openAt(t, server, keys, append(change, func(o *redisstore.Options) {
		o.Observer = &r.observed
		o.Logger = slog.New(slog.NewTextHandler(&r.log, nil))
	})...)
	r.follow(t, r.Store)
	return r
}

func (r *replica) Follow(ctx context.Context, news cache.News) {
	missed := news.Missed
	news.Missed = func() {
		r.missed.Add(1)
		missed()
	}
	r.Store.Follow(ctx, news)
}

type observed struct {
	mu         sync.Mutex
	operations map[string]int // number of operations for each text of the form "operation result"
	unreadable []string
	changes    []bool
}

func (o *observed) Operated(operation, result string, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.operations == nil {
		o.operations = map[string]int{}
	}
	o.operations[operation+" "+result]++
}

func (o *observed) Unreadable(cause string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unreadable = append(o.unreadable, cause)
}

func (o *observed) Degraded(is bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changes = append(o.changes, is)
}

// count returns the number of operations that match a text such as "lock", "lock ok" or " timeout".
func (o *observed) count(match string) (count int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for operation, n := range o.operations {
		if strings.Contains(operation+" ", match+" ") {
			count += n
		}
	}
	return count
}

func (o *observed) counts() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.operations)
}

func (o *observed) degraded() []bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.changes)
}

// takeUnreadable returns the arguments with which Unreadable was called since the last call of
// takeUnreadable.
func (o *observed) takeUnreadable() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.unreadable
	o.unreadable = nil
	return taken
}

type news struct {
	mu        sync.Mutex
	changed   []string
	forgotten atomic.Int32
	missed    atomic.Int32
}

// follow records a Store's news until the end of the test, and returns once the Store follows the
// stream.
func (n *news) follow(t *testing.T, store *redisstore.Store) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop) // `stop` runs before the Store is closed
	go store.Follow(ctx, cache.News{
		Changed: func(key string) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.changed = append(n.changed, key)
		},
		Forgotten: func() { n.forgotten.Add(1) },
		Missed:    func() { n.missed.Add(1) },
	})
	eventually(t, "the Store follows", func() bool { return n.missed.Load() > 0 })
}

func (n *news) heard() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.changed)
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(longest)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v this condition is still not true: %s", longest, what)
		}
	}
}

// newToken returns a token that was requested just now and lives for an hour.
func newToken(value string) *token.Token {
	return &token.Token{Value: secret.New(value), RequestedAt: time.Now(), Lifetime: time.Hour}
}

func newTokenAt(value string, now time.Time) *token.Token {
	fresh := newToken(value)
	fresh.RequestedAt = now
	return fresh
}

// `never` is an argument for Lock that accepts no record, so that Lock returns a lease.
func never(cache.Record) bool { return false }

// hasToken is an argument for Lock that accepts a record with a token.
func hasToken(record cache.Record) bool { return record.Token != nil }

func value(t *token.Token) string {
	if t == nil {
		return ""
	}
	return t.Value.Reveal()
}

func lock(t *testing.T, store cache.Store) (cache.Record, cache.Lease) {
	t.Helper()
	record, lease, err := store.Lock(t.Context(), key, never)
	if err != nil {
		t.Fatal(err)
	}
	return record, lease
}

// commit takes a lease, stores a token, and checks that Commit returns that token, or the token
// `want` if one is given.
func commit(t *testing.T, store cache.Store, fresh *token.Token, rejected bool, want ...string) {
	t.Helper()
	_, lease := lock(t, store)
	defer lease.Release()
	wantCommit(t, lease, fresh, rejected, append(want, value(fresh))[0])
}

// fail stores a failure that lasts for a minute.
func fail(t *testing.T, store cache.Store) {
	t.Helper()
	failUntil(t, store, time.Now().Add(time.Minute))
}

func failUntil(t *testing.T, store cache.Store, until time.Time) {
	t.Helper()
	_, lease := lock(t, store)
	defer lease.Release()
	failUnder(t, lease, until)
}

func failUnder(t *testing.T, lease cache.Lease, until time.Time) {
	t.Helper()
	failure := &cache.Failure{Fault: fault.New(fault.ProviderUnavailable, "down"), Until: until, Count: 1}
	if err := lease.Fail(t.Context(), failure); err != nil {
		t.Fatal(err)
	}
}

func wantCommit(t *testing.T, lease cache.Lease, fresh *token.Token, rejected bool, want string) {
	t.Helper()
	standing, err := lease.Commit(t.Context(), fresh, rejected)
	if err != nil {
		t.Fatal(err)
	}
	if got := value(standing); got != want {
		t.Errorf("Commit(%q) returns the token %q, want %q", value(fresh), got, want)
	}
}

func wantToken(t *testing.T, store cache.Store, want string) {
	t.Helper()
	record, err := store.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if got := value(record.Token); got != want {
		t.Errorf("the token is %q, want %q", got, want)
	}
}

// keysOf returns the Redis keys of one kind: token, failure, lock, rejected or forced.
func keysOf(t *testing.T, client *redis.Client, kind string) []string {
	t.Helper()
	found, err := client.Keys(t.Context(), "*:"+kind).Result()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func keyOf(t *testing.T, client *redis.Client, kind string) string {
	t.Helper()
	found := keysOf(t, client, kind)
	if len(found) != 1 {
		t.Fatalf("Redis has %d keys of the kind %s, want 1", len(found), kind)
	}
	return found[0]
}

type aheadClock struct {
	clockwork.Clock
	ahead atomic.Int64
}

func (c *aheadClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.ahead.Load())) }

func (c *aheadClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// letTimePass reduces the remaining life of every key of a server by the given time.
const letTimePass = `
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 and left <= tonumber(ARGV[1]) then
    redis.call('DEL', key)
  elseif left >= 0 then
    redis.call('PEXPIRE', key, left - ARGV[1])
  end
  if string.sub(key, -7) == ':forced' and redis.call('EXISTS', key) == 1 then
    for i, at in ipairs(redis.call('LRANGE', key, 0, -1)) do
      redis.call('LSET', key, i - 1, at - ARGV[1])
    end
  end
end`

func age(t *testing.T, client *redis.Client, d time.Duration) {
	t.Helper()
	if err := client.Eval(context.Background(), letTimePass, nil, d.Milliseconds()).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
}
