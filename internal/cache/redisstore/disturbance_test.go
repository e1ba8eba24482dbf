package redisstore_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

func wantNoTrouble(t *testing.T, seen *observed) {
	t.Helper()
	if failures := seen.count("") - seen.count(" ok"); failures != 0 {
		t.Errorf("%d operations failed: %v", failures, seen.operations)
	}
	if got := seen.degraded(); got != nil {
		t.Errorf("the calls of Degraded are %v, want none", got)
	}
}

// A Store uses a server that is slow but answers within the time limit.
func TestSlowRedisIsUsed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.Proxy(t, server.Addr())
	r := start(t, at(proxy.Addr()), fleetkeys.RandomRing())
	commit(t, r, newToken("first"), false) // opens the connections
	proxy.Delay(60 * time.Millisecond)
	commit(t, r, newToken("second"), true)
	fail(t, r)
	wantToken(t, r, "second")
	wantNoTrouble(t, &r.observed)
}

// The connection is cut after each byte of a reply in turn. After each cut, the operation must
// return a correct result or an error, and the next operation must succeed.
func TestConnectionCutMidReply(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.Proxy(t, server.Addr())
	seen, keys := &observed{}, fleetkeys.RandomRing()
	store := openAt(t, at(proxy.Addr()), keys, withObserver(seen))
	commit(t, open(t, server, keys), newToken("first"), false)
	fail(t, open(t, server, keys))
	eventually(t, "the lock is released", func() bool { return len(keysOf(t, server.Client(), "lock")) == 0 })
	wantToken(t, store, "first")
	for bytes := 0; ; bytes++ {
		proxy.CutMidReply(bytes)
		record, err := store.Load(t.Context(), key)
		if err == nil { // the proxy passed the complete reply
			if value(record.Token) != "first" || record.Failure == nil {
				t.Errorf("after a complete reply of %d bytes, Load returns token %q and record %+v", bytes, value(record.Token), record.Failure)
			}
			break
		}
		if record.Token != nil || record.Failure != nil {
			t.Errorf("after a reply of %d bytes Load returns an error, but also a record", bytes)
		}
		_, lease := lock(t, store)
		unlocked := seen.count("unlock")
		lease.Release()
		eventually(t, "the lock is released", func() bool { return seen.count("unlock") > unlocked })
	}
	if got := seen.count("look connection"); got < 200 {
		t.Errorf("%d reads were cut, want one for each byte of a reply", got)
	}
	if got := seen.takeUnreadable(); got != nil {
		t.Errorf("the calls of Unreadable are %q", got)
	}
	if got := seen.degraded(); got != nil {
		t.Errorf("the calls of Degraded are %v, want none", got)
	}
}

// Connections to Redis are cut in the middle of a reply while calls for tokens are made.
func TestCallsWhileConnectionsAreCut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.Proxy(t, server.Addr())
	c := newCaller(t, at(proxy.Addr()))
	for i := range 100 {
		proxy.CutMidReply(i)
		c.call("while connections are cut", i)
	}
	proxy.Pass()
	eventually(t, "all are in Redis", func() bool {
		for i := range 100 {
			c.call("while connections are cut", i)
		}
		return len(keysOf(t, server.Client(), "token")) == 100
	})
	if got := c.requests.Load(); got != 100 {
		t.Errorf("there were %d token requests for 100 accounts", got)
	}
}

// After five failed operations, the Store does not try the next one.
func TestFiveFailures(t *testing.T) {
	t.Parallel()
	server, seen := redistest.Start(t), &observed{}
	store := open(t, server, fleetkeys.RandomRing(), withObserver(seen))
	wantToken(t, store, "")
	server.Kill()
	for n := range 7 {
		if got := seen.degraded(); (n >= 5) != slices.Equal(got, []bool{true}) {
			t.Errorf("after %d failures the calls of Degraded are %v", n, got)
		}
		if _, err := store.Load(t.Context(), key); err == nil {
			t.Fatal("Load does not fail")
		}
	}
	if tried, not := seen.count("look connection"), seen.count("look not_tried"); tried != 5 || not != 2 {
		t.Errorf("%d operations were tried and %d were not tried, want 5 and 2", tried, not)
	}
}

// A server hangs while no calls are made. The Store must notice that the server hangs, and later
// that it works again.
func TestTroubleWithoutCalls(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := start(t, at(server.Addr()), fleetkeys.RandomRing())
	began := time.Now()
	server.Stop()
	eventually(t, "Redis counts as out of reach", func() bool { return slices.Equal(r.degraded(), []bool{true}) })
	t.Logf("found out after %v", time.Since(began))
	if took := time.Since(began); took > mostRecovery {
		t.Errorf("the Store noticed the fault only after %v", took)
	}
	missed := r.missed.Load()
	server.Continue()
	eventually(t, "Redis is back", func() bool { return slices.Equal(r.degraded(), []bool{true, false}) })
	eventually(t, "news count as missed", func() bool { return r.missed.Load() > missed })
}

// A server forgets its scripts before each operation.
func TestForgottenScripts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := start(t, at(server.Addr()), fleetkeys.RandomRing())
	forget := func() {
		t.Helper()
		if err := server.Client().ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	forget()
	_, lease := lock(t, r)
	forget()
	wantCommit(t, lease, newToken("first"), false, "first")
	forget()
	if _, err := lease.ForcedWait(t.Context(), 1, time.Minute); err != nil {
		t.Error(err)
	}
	forget()
	failUnder(t, lease, time.Now().Add(time.Minute))
	forget()
	lease.Release()
	eventually(t, "the lock is released", func() bool { return len(keysOf(t, server.Client(), "lock")) == 0 })
	forget()
	wantToken(t, r, "first")
	wantNoTrouble(t, &r.observed)
}

// A server closes all connections. The Store must report that events may have been missed. No
// operation may fail except the read of the stream.
func TestKilledConnections(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := start(t, at(server.Addr()), fleetkeys.RandomRing())
	commit(t, r, newToken("first"), false)
	for range 3 {
		missed := r.missed.Load()
		eventually(t, "the lock is released", func() bool { return r.count("unlock ok") == r.count("commit ok") })
		cutRead(t, server.Client())
		wantToken(t, r, "first")
		commit(t, r, newToken("first"), false)
		eventually(t, "news count as missed", func() bool { return r.missed.Load() > missed })
	}
	if failures := r.count("") - r.count(" ok") - r.count("read connection"); failures != 0 {
		t.Errorf("%d operations failed: %v", failures, r.operations)
	}
	if got := r.degraded(); got != nil {
		t.Errorf("the calls of Degraded are %v, want none", got)
	}
}

// cutRead makes the server close all connections while a replica waits for events. Between two reads
// of the stream, a closed connection would be replaced without a failure.
func cutRead(t *testing.T, client *redis.Client) {
	t.Helper()
	eventually(t, "a read of the stream is cut", func() bool {
		if !hasBlockedRead(client.Info(t.Context(), "clients")) {
			return false
		}
		var info *redis.StringCmd
		_, err := client.TxPipelined(t.Context(), func(both redis.Pipeliner) error {
			info = both.Info(t.Context(), "clients")
			both.ClientKillByFilter(t.Context(), "TYPE", "normal")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return hasBlockedRead(info)
	})
}

func hasBlockedRead(info *redis.StringCmd) bool {
	return strings.Contains(info.Val(), "\nblocked_clients:1\r\n")
}

// A server restarts without its data, so fast that the circuit breaker stays closed.
func TestEmptiedRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newCaller(t, at(server.Addr()))
	c.call("before", 1)
	for range 3 {
		missed, failed := c.missed.Load(), c.count(" connection")
		server.Kill()
		// Between two reads of the stream, a restart would not be noticed.
		eventually(t, "an operation fails", func() bool { return c.count(" connection") > failed })
		server.Restart()
		c.call("before", 1)
		eventually(t, "news count as missed", func() bool { return c.missed.Load() > missed })
		eventually(t, "the token is back in Redis", func() bool { return len(keysOf(t, server.Client(), "token")) == 1 })
	}
	if got := c.requests.Load(); got != 1 {
		t.Errorf("there were %d token requests, want 1", got)
	}
}
