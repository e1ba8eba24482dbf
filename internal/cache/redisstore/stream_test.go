package redisstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

const (
	changesKey = "authmaterial:1:changes"
	// mostEvents is the maximum number of events in the stream. The maximum is greater than the
	// configured size, because Redis removes events only in blocks of a hundred events.
	mostEvents = 10_100
)

func TestNewsOfAToken(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	one, other := start(t, at(server.Addr()), keys), start(t, at(server.Addr()), keys)
	ignorant := start(t, at(server.Addr()), keys)                   // this replica was not asked for the key
	stranger := start(t, at(server.Addr()), fleetkeys.RandomRing()) // a replica of another fleet
	wantToken(t, one, "")
	wantToken(t, other, "")
	wantToken(t, stranger, "")

	commit(t, one, newToken("first"), false)
	eventually(t, "the other replica receives the event", func() bool { return slices.Equal(other.heard(), []string{key}) })
	wantToken(t, other, "first")
	commit(t, other, newToken("second"), true)
	eventually(t, "the first replica receives the event of the successor", func() bool { return slices.Equal(one.heard(), []string{key}) })
	if got := other.heard(); len(got) != 1 {
		t.Errorf("a replica received %q, including its own event", got)
	}
	if got := append(ignorant.heard(), stranger.heard()...); len(got) != 0 {
		t.Errorf("replicas that do not know the key received %q", got)
	}
	for _, r := range []*replica{one, other, ignorant, stranger} {
		if got := r.missed.Load(); got != 1 {
			t.Errorf("Missed is called %d times, want once, when Follow begins", got)
		}
	}
}

func TestForgottenFailures(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	one, other := start(t, at(server.Addr()), keys), start(t, at(server.Addr()), keys)
	fail(t, other) // stores a failure under a token key that the other replica does not know
	if err := one.ForgetFailures(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other forgets", func() bool { return other.forgotten.Load() == 1 })
	if record, err := other.Load(t.Context(), key); err != nil || record.Failure != nil {
		t.Errorf("the failure is still stored; Load returns %+v, error %v", record.Failure, err)
	}
	if one.forgotten.Load() != 0 {
		t.Error("a replica received its own event")
	}
}

func TestForgettingManyFailures(t *testing.T) {
	t.Parallel()
	server, seen := redistest.Start(t), &observed{}
	store := open(t, server, fleetkeys.RandomRing(), withObserver(seen))
	for i := range 2_500 {
		if _, err := store.Load(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	fail(t, store) // stores a failure under one more token key
	if err := store.ForgetFailures(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, server.Client(), "failure"); len(got) != 0 {
		t.Errorf("%d failures are still stored", len(got))
	}
	if got := seen.count("forget"); got != 3 {
		t.Errorf("the failures of 2,501 keys were removed in %d operations, want 3", got)
	}
}

func TestStreamIsCapped(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	addEvents(t, server.Client(), 12_000)
	commit(t, open(t, server, keys), newToken("first"), false)
	if got := server.Client().XLen(t.Context(), changesKey).Val(); got > mostEvents {
		t.Errorf("the stream has %d events, want %d at most", got, mostEvents)
	}
}

// Many events are added at once, so that some may be removed before a replica has read them.
func TestLostPosition(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	r := start(t, at(server.Addr()), keys)
	wantToken(t, r, "")
	addEvents(t, server.Client(), 5_000)
	eventually(t, "news count as missed", func() bool { return r.missed.Load() > 1 })
	commit(t, open(t, server, keys), newToken("first"), false)
	eventually(t, "it receives later events", func() bool { return slices.Contains(r.heard(), key) })
}

// The stream has events that the present version of the broker does not write.
func TestUnknownEvents(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	r := start(t, at(server.Addr()), keys)
	wantToken(t, r, "")
	for _, values := range [][]string{{"kind", "later"}, {"a", "b"}, {"kind", "token"}, {"kind", "token", "name", "swordfish"}} {
		if err := server.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: changesKey, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, open(t, server, keys), newToken("first"), false)
	eventually(t, "it receives the event that it knows", func() bool { return slices.Equal(r.heard(), []string{key}) })
}

// Redis stores a token, and the reply is lost. Although the reply is lost, the other replicas must
// receive the event that reports the new token.
func TestNewsAfterAnUnansweredCommit(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var told news
	told.follow(t, p.cut)
	other := start(t, at(p.server.Addr()), p.keys)
	commit(t, other, newToken("zeroth"), false) // loads the script into the server
	_, lease := lock(t, p.cut)
	defer lease.Release()
	p.proxy.Delay(time.Minute)
	if _, err := lease.Commit(t.Context(), newToken("first"), false); err == nil {
		t.Fatal("a commit whose reply is lost does not fail")
	}
	eventually(t, "the token is in Redis", func() bool {
		record, err := other.Load(t.Context(), key)
		return err == nil && value(record.Token) == "first"
	})
	p.proxy.Pass()
	eventually(t, "the other replica receives the event", func() bool { return len(other.heard()) > 0 })
}

// The reply to a commit is lost. The second attempt finds the token that the first one stored, and
// must nevertheless publish the event.
func TestNewsAfterACommitThatWasTriedAgain(t *testing.T) {
	t.Parallel()
	p := newPair(t) // the disconnected replica does not follow the stream
	other := start(t, at(p.server.Addr()), p.keys)
	commit(t, other, newToken("zeroth"), false)
	_, lease := lock(t, p.cut)
	defer lease.Release()
	fresh := newToken("first")
	p.proxy.Delay(time.Minute)
	if _, err := lease.Commit(t.Context(), fresh, false); err == nil {
		t.Fatal("a commit whose reply is lost does not fail")
	}
	p.proxy.Pass()
	wantToken(t, other, "first")
	if got := other.heard(); len(got) != 0 {
		t.Fatalf("the other replica received %q", got)
	}
	// The first attempt has used up the time budget of the lease, so later attempts may time out too.
	eventually(t, "a later attempt succeeds", func() bool {
		standing, err := lease.Commit(t.Context(), fresh, false)
		return err == nil && value(standing) == "first"
	})
	eventually(t, "the other replica receives the event", func() bool { return len(other.heard()) > 0 })
}

// Another replica removes events that this replica may not have read.
func TestEmptiedStream(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := start(t, at(server.Addr()), fleetkeys.RandomRing())
	emptied := &redis.XAddArgs{Stream: changesKey, MaxLen: 1, Values: []string{"kind", "emptied", "name", "", "by", "another"}}
	if err := server.Client().XAdd(t.Context(), emptied).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "news count as missed", func() bool { return r.missed.Load() > 1 })
}

// The stream is removed, and then gets events with smaller IDs, as after Redis' clock was set back.
// After a failure, the replica must continue after the last event.
func TestStreamThatStartsAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	r := start(t, at(server.Addr()), fleetkeys.RandomRing())
	commit(t, r, newToken("first"), false)
	_, name, _ := strings.Cut(keyOf(t, client, "token"), "{")
	name, _, _ = strings.Cut(name, "}")
	add := func(id string) {
		t.Helper()
		event := []string{"kind", "token", "name", name, "by", "another"}
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: changesKey, ID: id, Values: event}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Del(t.Context(), changesKey).Err(); err != nil {
		t.Fatal(err)
	}
	add("1-1")
	missed := r.missed.Load()
	eventually(t, "news count as missed", func() bool {
		_ = client.ClientKillByFilter(t.Context(), "TYPE", "normal").Err()
		return r.missed.Load() > missed
	})
	heard := len(r.heard())
	add("1-2")
	eventually(t, "it receives the event", func() bool { return len(r.heard()) > heard })
}

func addEvents(t *testing.T, client *redis.Client, count int) {
	t.Helper()
	_, err := client.TxPipelined(t.Context(), func(all redis.Pipeliner) error {
		for i := range count {
			all.XAdd(t.Context(), &redis.XAddArgs{Stream: changesKey, Values: []string{"kind", fmt.Sprint(i)}})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
