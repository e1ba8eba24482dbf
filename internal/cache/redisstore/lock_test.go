package redisstore_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

const (
	lockLife = 3 * time.Second
	// mostTakeover limits how long a replica waits for the lock of a dead replica.
	mostTakeover = 4 * time.Second
)

// A pair is two replicas on one server. A test can disconnect the first replica.
type pair struct {
	server *redistest.Server
	proxy  *redistest.FaultProxy
	cut    *redisstore.Store
	other  *redisstore.Store
	keys   *fleetkeys.Ring
	seen   *observed // Observer that records the operations of the first replica
}

func newPair(t *testing.T, change ...func(*redisstore.Options)) *pair {
	t.Helper()
	p := &pair{server: redistest.Start(t), keys: fleetkeys.RandomRing(), seen: &observed{}}
	p.proxy = redistest.Proxy(t, p.server.Addr())
	p.cut = openAt(t, at(p.proxy.Addr()), p.keys, append(change, func(o *redisstore.Options) { o.Observer = p.seen })...)
	p.other = open(t, p.server, p.keys)
	return p
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	for name, die := range map[string]func(*redistest.FaultProxy){
		"no answer":   (*redistest.FaultProxy).Blackhole,
		"connections": (*redistest.FaultProxy).Refuse,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			_, dead := lock(t, p.cut)
			die(p.proxy)
			t.Cleanup(dead.Release) // Release releases no lock, because the replica is disconnected
			began := time.Now()
			_, lease := lock(t, p.other)
			lease.Release()
			if took := time.Since(began); took > mostTakeover {
				t.Errorf("the lock of a dead replica was taken over after %v, want %v at most", took, lockLife)
			}
		})
	}
}

func TestHolderRenewsItsLock(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	p := newPair(t, withClock(clock))
	_, lease := lock(t, p.cut)
	name := keyOf(t, p.server.Client(), "lock")
	left := func() time.Duration { return p.server.Client().PTTL(t.Context(), name).Val() }
	for range 5 {
		// With a longer life, the lock cannot expire before the test's next step.
		if held, err := p.server.Client().PExpire(t.Context(), name, time.Hour).Result(); err != nil || !held {
			t.Fatalf("the lock has expired (%v)", err)
		}
		if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Second)
		eventually(t, "the lock is renewed", func() bool { return left() <= lockLife })
		if got := left(); got <= time.Second {
			t.Fatalf("the lock expires %v after its renewal, want more than the time until the next one", got)
		}
	}
	lease.Release()
	eventually(t, "the lock is released", func() bool { return left() < 0 })
}

// A replica has lost its lock to another replica, and has not noticed the loss.
func TestSlowHolder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		meanwhile func(*testing.T, *pair) // what the other replica does while it has the lock
		fresh     string                  // the token that the slow replica commits
		forced    bool
		want      string // the token that Commit returns; "" means that the lease is lost
	}{
		"the other is at it": {
			meanwhile: func(t *testing.T, p *pair) {
				_, lease := lock(t, p.other)
				t.Cleanup(lease.Release)
			},
			fresh: "late",
		},
		"the other has a newer token": {
			meanwhile: func(t *testing.T, p *pair) { commit(t, p.other, newToken("newer"), false) },
			fresh:     "late",
			want:      "newer",
		},
		"the other replaced the same rejected token": {
			meanwhile: func(t *testing.T, p *pair) { commit(t, p.other, newToken("newer"), true) },
			fresh:     "late", forced: true,
			want: "newer",
		},
		"the other had the late token, and it was rejected": {
			meanwhile: func(t *testing.T, p *pair) {
				commit(t, p.other, newToken("late"), false)
				commit(t, p.other, newToken("newer"), true)
			},
			fresh: "late",
			want:  "newer",
		},
		"the token that it found was rejected, and is issued again": {
			meanwhile: func(t *testing.T, p *pair) { commit(t, p.other, newToken("newer"), true) },
			fresh:     "first",
			want:      "newer",
		},
		"the other is done, and has none": {
			meanwhile: func(t *testing.T, p *pair) {
				_, lease := lock(t, p.other)
				lease.Release()
				eventually(t, "the lock is released", func() bool { return len(keysOf(t, p.server.Client(), "lock")) == 0 })
			},
			fresh: "late",
			want:  "late",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			commit(t, p.other, newToken("first"), false)
			_, slow := lock(t, p.cut)
			defer slow.Release()
			p.proxy.Blackhole()
			age(t, p.server.Client(), lockLife)
			test.meanwhile(t, p)
			p.proxy.Pass()
			// Delayed operations may time out before the commit is answered.
			var standing string
			var err error
			eventually(t, "the slow one is answered", func() bool {
				token, failed := slow.Commit(t.Context(), newToken(test.fresh), test.forced)
				standing, err = value(token), failed
				return failed == nil || errors.Is(failed, cache.ErrLeaseLost)
			})
			if standing != test.want || (err != nil) != (test.want == "") {
				t.Errorf("Commit of the slow replica returns token %q, error %v; want token %q", standing, err, test.want)
			}
			if test.want == "" {
				test.want = "first"
			}
			wantToken(t, p.other, test.want)
		})
	}
}

// A slow replica commits a token that was rejected meanwhile, and Redis has no other token. The
// rejected token must not be stored again.
func TestRejectedTokenStaysAway(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	commit(t, p.other, newToken("first"), false)
	_, slow := lock(t, p.cut)
	defer slow.Release()
	age(t, p.server.Client(), lockLife)
	commit(t, p.other, newToken("second"), true)
	eventually(t, "the lock is released", func() bool { return len(keysOf(t, p.server.Client(), "lock")) == 0 })
	if err := p.server.Client().Del(t.Context(), keyOf(t, p.server.Client(), "token")).Err(); err != nil {
		t.Fatal(err)
	}
	wantCommit(t, slow, newToken("first"), false, "")
	wantToken(t, p.other, "")
}

func TestReleaseOfALostLock(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	_, lost := lock(t, p.cut)
	age(t, p.server.Client(), lockLife)
	_, lease := lock(t, p.other)
	defer lease.Release()
	client := p.server.Client()
	owner := client.Get(t.Context(), keyOf(t, client, "lock")).Val()
	lost.Release()
	eventually(t, "the lost lock was released", func() bool { return p.seen.count("unlock ok") > 0 })
	if got := client.Get(t.Context(), keyOf(t, client, "lock")).Val(); owner == "" || got != owner {
		t.Error("a replica released a lock that it had lost")
	}
}

func TestWaitersEndWithTheirContexts(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	_, lease := lock(t, p.other)
	defer lease.Release()
	for name, test := range map[string]struct {
		disturb func()
		want    error
	}{
		"a deadline":                    {func() {}, context.DeadlineExceeded},
		"the end of a call":             {func() {}, context.Canceled},
		"a deadline, and a hung server": {p.proxy.Blackhole, context.DeadlineExceeded},
	} {
		p.proxy.Pass()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if errors.Is(test.want, context.Canceled) {
			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
		}
		test.disturb()
		began := time.Now()
		_, _, err := p.cut.Lock(ctx, key, never)
		cancel()
		if !errors.Is(err, test.want) {
			t.Errorf("after %s, Lock returns error %v", name, err)
		}
		if took := time.Since(began); took > mostOperation {
			t.Errorf("after %s, Lock took %v", name, took)
		}
	}
	// The caller's deadline or the connection's timeout ends the call, whichever comes first.
	p.proxy.Blackhole()
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if _, err := p.cut.Load(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Load on a hung server returns error %v", err)
		}
		cancel()
	}
	if got := p.seen.count("look timeout"); got != 0 {
		t.Errorf("%d calls whose deadlines ended were counted as failures of Redis", got)
	}
}

// Redis grants a lock, and the reply is lost.
func TestLockWithoutAnswer(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	commit(t, p.other, newToken("first"), false) // loads the scripts into the server
	eventually(t, "the lock is released", func() bool { return len(keysOf(t, p.server.Client(), "lock")) == 0 })
	locked := make(chan error)
	go func() {
		_, _, err := p.cut.Lock(context.Background(), key, func(cache.Record) bool {
			p.proxy.Delay(time.Minute) // from now on, replies take a minute
			return false
		})
		locked <- err
	}()
	eventually(t, "Redis grants the lock", func() bool { return len(keysOf(t, p.server.Client(), "lock")) == 1 })
	left := p.server.Client().PTTL(t.Context(), keyOf(t, p.server.Client(), "lock")).Val()
	if left <= 0 || left > lockLife {
		t.Errorf("the unused lock expires in %v", left)
	}
	if err := <-locked; err == nil || p.seen.count("lock timeout") != 1 {
		t.Fatalf("Lock whose reply is lost returns error %v, after the operations %v", err, p.seen.counts())
	}
	age(t, p.server.Client(), lockLife)
	_, lease := lock(t, p.other)
	lease.Release()
}

// The test stops the clock of the replica that waits for the lock, so this replica reads the lock
// again only when an event arrives.
func TestNewsWakesWaiters(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	waiter := start(t, at(server.Addr()), keys, withClock(clockwork.NewFakeClock()))
	holder := open(t, server, keys)
	_, lease := lock(t, holder)
	defer lease.Release()
	got := make(chan cache.Record, 1)
	go func() {
		record, lease, err := waiter.Lock(context.Background(), key, hasToken)
		if err != nil || lease != nil {
			t.Errorf("Lock: %v, %v", lease, err)
		}
		got <- record
	}()
	eventually(t, "the waiter has seen the lock", func() bool { return waiter.count("lock ok") > 0 })
	wantCommit(t, lease, newToken("first"), false, "first")
	select {
	case record := <-got:
		if value(record.Token) != "first" {
			t.Errorf("the waiting replica got the wrong token %q", value(record.Token))
		}
	case <-time.After(longest):
		t.Fatal("the waiting replica does not return")
	}
}

// Two replicas at the same time remove a lock that does not expire and that no broker wrote.
func TestStuckLock(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	_, lease := lock(t, p.other)
	client := p.server.Client()
	name := keyOf(t, client, "lock")
	lease.Release()
	eventually(t, "the lock is released", func() bool { return len(keysOf(t, client, "lock")) == 0 })
	if err := client.Set(t.Context(), name, "an owner", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.cut.Load(t.Context(), "another"); err != nil { // opens a connection
		t.Fatal(err)
	}
	p.proxy.Delay(100 * time.Millisecond)
	before, looked := scriptCalls(t, client), make(chan error, 1)
	go func() {
		_, err := p.cut.Load(context.Background(), key)
		looked <- err
	}()
	eventually(t, "the first has looked", func() bool { return scriptCalls(t, client) > before })
	_, lease = lock(t, p.other)
	defer lease.Release()
	owner := client.Get(t.Context(), name).Val()
	if err := <-looked; err != nil {
		t.Fatal(err)
	}
	if got := client.Get(t.Context(), name).Val(); owner == "" || got != owner {
		t.Error("a replica removed the lock that had no expiry, and then also the next lock")
	}
}

func scriptCalls(t *testing.T, client *redis.Client) (calls int) {
	t.Helper()
	_, after, _ := strings.Cut(client.Info(t.Context(), "commandstats").Val(), "cmdstat_evalsha:calls=")
	text, _, _ := strings.Cut(after, ",")
	calls, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// The connection is cut before the reply that grants a lock arrives. Other replicas must get the
// lock before it would expire, which takes 3 seconds.
func TestLockWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.Proxy(t, server.Addr())
	keys := fleetkeys.RandomRing()
	store, other := openAt(t, at(proxy.Addr()), keys), open(t, server, keys)
	commit(t, other, newToken("first"), false) // loads the scripts into Redis
	eventually(t, "the lock is released", func() bool { return len(keysOf(t, server.Client(), "lock")) == 0 })
	wantToken(t, store, "first")
	began := time.Now()
	_, lease, err := store.Lock(t.Context(), key, func(cache.Record) bool {
		proxy.CutMidReply(0)
		return false
	})
	if err == nil || lease != nil {
		t.Fatalf("Lock whose reply is lost returns a lease and error %v", err)
	}
	_, lease = lock(t, other)
	defer lease.Release()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("another replica got the lease only after %v", took)
	}
}
