package redisstore_test

import (
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// The entry of a token expires later than the token ends, because its expiry was changed, or Redis'
// clock was set back.
func TestEntryThatOutlivesItsToken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	seen := &observed{}
	store := openAt(t, at(server.Addr()), fleetkeys.RandomRing(), func(o *redisstore.Options) { o.Observer = seen })
	commit(t, store, newToken("first"), false)
	for _, life := range []time.Duration{time.Hour + time.Second, 30 * time.Minute} {
		if err := server.Client().PExpire(t.Context(), keyOf(t, server.Client(), "token"), life).Err(); err != nil {
			t.Fatal(err)
		}
		want, causes := "first", 0
		if life > time.Hour {
			want, causes = "", 1
		}
		wantToken(t, store, want)
		if got := seen.takeUnreadable(); len(got) != causes || causes == 1 && got[0] != "no_end" {
			t.Errorf("for an entry with a remaining life of %v, Unreadable is called with %q", life, got)
		}
	}
}

// The entry of a failure expires too late, so the failure would prevent token requests for too
// long.
func TestFailureThatOutlivesItsTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	seen := &observed{}
	store := open(t, server, fleetkeys.RandomRing(), withObserver(seen))
	fail(t, store) // the failure's entry expires after 31 minutes
	if err := server.Client().PExpire(t.Context(), keyOf(t, server.Client(), "failure"), 24*time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	record, err := store.Load(t.Context(), key)
	if err != nil || record.Failure != nil {
		t.Errorf("Load returns failure %+v, error %v; want no failure", record.Failure, err)
	}
	if got := seen.takeUnreadable(); len(got) != 1 || got[0] != "no_end" {
		t.Errorf("Unreadable is called with %q, want no_end", got)
	}
}
