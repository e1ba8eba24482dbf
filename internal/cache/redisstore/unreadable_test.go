package redisstore_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// entries contains the Redis keys of a token and of its failure.
type entries struct {
	*testing.T
	*redis.Client
	token, failure string
}

func (e entries) get(name string) string {
	e.Helper()
	got, err := e.Get(e.Context(), name).Result()
	if err != nil {
		e.Fatal(err)
	}
	return got
}

// set stores a value under a key that expires as the broker's keys do.
func (e entries) set(name, value string) { e.put(name, value, 10*time.Minute) }

func (e entries) put(name, value string, life time.Duration) {
	e.Helper()
	if err := e.Set(e.Context(), name, value, life).Err(); err != nil {
		e.Fatal(err)
	}
}

// otherType stores a hash under a key, which does not expire if its life is zero.
func (e entries) otherType(name string, life time.Duration) {
	e.Helper()
	e.Del(e.Context(), name)
	err := e.HSet(e.Context(), name, "field", "value").Err()
	if err == nil && life > 0 {
		err = e.PExpire(e.Context(), name, life).Err()
	}
	if err != nil {
		e.Fatal(err)
	}
}

// The entry of a token or of a failure is made unreadable in each of the possible ways.
func TestUnreadableEntries(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	stranger, err := fleetkeys.NewRing(generate(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		spoil func(e entries, name string)
		cause string
	}{
		"a newer format": {func(e entries, name string) { e.set(name, "\x02"+e.get(name)[1:]) }, "format"},
		"an older one":   {func(e entries, name string) { e.set(name, "\x00"+e.get(name)[1:]) }, "format"},
		"plain garbage":  {func(e entries, name string) { e.set(name, "swordfish") }, "format"},
		"JSON":           {func(e entries, name string) { e.set(name, `{"value":"swordfish","lifetime":3600000000000}`) }, "format"},
		"another fleet key": {func(e entries, name string) {
			e.set(name, string(stranger.Seal(name, []byte(`{"value":"swordfish","lifetime":3600000000000}`))))
		}, "key"},
		"a changed byte": {func(e entries, name string) {
			changed := []byte(e.get(name))
			changed[len(changed)/2] ^= 1
			e.set(name, string(changed))
		}, "damaged"},
		"cut short":     {func(e entries, name string) { e.set(name, e.get(name)[:20]) }, "damaged"},
		"only a header": {func(e entries, name string) { e.set(name, e.get(name)[:5]) }, "damaged"},
		"nothing in it": {func(e entries, name string) { e.set(name, "") }, "damaged"},
		"from another key": {func(e entries, name string) {
			e.set(name, e.get(map[string]string{e.token: e.failure, e.failure: e.token}[name]))
		}, "damaged"},
		"no end":                   {func(e entries, name string) { e.put(name, e.get(name), 0) }, "no_end"},
		"another type":             {func(e entries, name string) { e.otherType(name, time.Minute) }, "damaged"},
		"another type, and no end": {func(e entries, name string) { e.otherType(name, 0) }, "no_end"},
	} {
		for _, kind := range []string{"token", "failure"} {
			t.Run(kind+": "+name, func(t *testing.T) {
				if err := server.Client().FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				seen := &observed{}
				store := open(t, server, fleetkeys.RandomRing(), withObserver(seen))
				commit(t, store, newToken("first"), false)
				fail(t, store)
				e := entries{t, server.Client(), keyOf(t, server.Client(), "token"), keyOf(t, server.Client(), "failure")}
				test.spoil(e, map[string]string{"token": e.token, "failure": e.failure}[kind])

				record, err := store.Load(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := value(record.Token), map[string]string{"failure": "first"}[kind]; got != want {
					t.Errorf("the token is %q, want %q", got, want)
				}
				if got, want := record.Failure != nil, kind == "token"; got != want {
					t.Errorf("a failure is stored: %v, want %v", got, want)
				}
				if got := seen.takeUnreadable(); !slices.Equal(got, []string{test.cause}) {
					t.Errorf("Unreadable was called with %q, want %q", got, test.cause)
				}

				if kind == "failure" {
					fail(t, store)
					if record, err := store.Load(t.Context(), key); err != nil || record.Failure == nil {
						t.Errorf("after the next failure, Load returns failure %+v, error %v", record.Failure, err)
					}
				}
				commit(t, store, newToken("second"), true)
				wantToken(t, store, "second")
				seen.takeUnreadable()
				wantToken(t, store, "second")
				if got := seen.takeUnreadable(); got != nil {
					t.Errorf("after the next commit, the calls of Unreadable are %q", got)
				}
				if failures := seen.count("") - seen.count(" ok"); failures != 0 {
					t.Errorf("%d operations failed: %v", failures, seen.operations)
				}
			})
		}
	}
}

// A later version of the broker stored a failure with a reason that the present version does not
// know. The present version must ignore the failure, so that a token may be requested.
func TestFailureOfUnknownReason(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	keys, seen := fleetkeys.RandomRing(), &observed{}
	store := open(t, server, keys, withObserver(seen))
	fail(t, store)
	e := entries{T: t, Client: server.Client(), failure: keyOf(t, server.Client(), "failure")}
	for reason, want := range map[string]bool{"provider_unavailable": true, "quota_used_up": false, "": false} {
		e.set(e.failure, string(keys.Seal(e.failure, []byte(`{"reason":"`+reason+`","message":"no","life":3600000000000,"count":1}`))))
		record, err := store.Load(t.Context(), key)
		if err != nil || (record.Failure != nil) != want {
			t.Errorf("with the reason %q, Load returns failure %+v, error %v; Load must return a failure: %v", reason, record.Failure, err, want)
		}
		if got := seen.takeUnreadable(); !want != slices.Equal(got, []string{"format"}) {
			t.Errorf("for a failure with the reason %q, Unreadable is called with %q", reason, got)
		}
	}
	e.set(e.failure, string(keys.Seal(e.failure, []byte(`{"reason":"quota_used_up","life":3600000000000,"count":1}`))))
	_, lease, err := store.Lock(t.Context(), key, func(record cache.Record) bool { return record.Failure != nil })
	if err != nil || lease == nil {
		t.Fatalf("Lock returns no lease and error %v", err)
	}
	lease.Release()
}

// The test replaces each of the broker's keys in Redis by a key of another Redis type, such as a list.
// The broker must still work, and must replace that key by a correct one.
func TestOtherTypes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	for _, life := range []time.Duration{0, time.Hour} {
		for _, kind := range []string{"token", "failure", "lock", "rejected", "forced", "changes", "probe"} {
			t.Run(kind+" for "+life.String(), func(t *testing.T) {
				if err := client.FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				keys := fleetkeys.RandomRing()
				r := start(t, at(server.Addr()), keys)
				commit(t, r, newToken("first"), false)
				eventually(t, "the lock is released", func() bool { return len(keysOf(t, client, "lock")) == 0 })
				e := entries{T: t, Client: client}
				name := strings.TrimSuffix(keyOf(t, client, "token"), "token") + kind
				if kind == "changes" || kind == "probe" {
					name = "authmaterial:1:" + kind
				}
				e.otherType(name, life)

				commit(t, r, newToken("next"), false)
				commit(t, r, newToken("second"), true)
				commit(t, r, newToken("next"), false, "second") // the token "next" was rejected before
				_, lease := lock(t, r)
				if wait, err := lease.ForcedWait(t.Context(), 1, time.Minute); err != nil || wait <= 0 {
					t.Errorf("ForcedWait: %v, %v", wait, err)
				}
				lease.Release()
				fail(t, r)
				if record, err := r.Load(t.Context(), key); err != nil || value(record.Token) != "second" || record.Failure == nil {
					t.Errorf("Load returns token %q, failure %+v, error %v", value(record.Token), record.Failure, err)
				}
				heard := len(r.heard())
				eventually(t, "news come", func() bool {
					commit(t, open(t, server, keys), newToken("third"), false)
					return len(r.heard()) > heard
				})
				if got := r.degraded(); got != nil {
					t.Errorf("the calls of Degraded are %v, want none", got)
				}
			})
		}
	}
}

// The list of forced renewals has elements that are not times, and the list of rejected tokens has
// elements that are not fingerprints.
func TestGarbageInLists(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	store := open(t, server, fleetkeys.RandomRing())
	commit(t, store, newToken("first"), false)
	name := strings.TrimSuffix(keyOf(t, client, "token"), "token")
	for _, kind := range []string{"forced", "rejected"} {
		if err := client.LPush(t.Context(), name+kind, "swordfish", "", "1e400", "-1").Err(); err != nil {
			t.Fatal(err)
		}
	}
	_, lease := lock(t, store)
	for limit, want := range map[int]time.Duration{1: time.Hour, 2: 0, 3: 0, 4: 0} { // the script reads 1e400 as infinity, which is a time in the future
		if wait, err := lease.ForcedWait(t.Context(), limit, time.Hour); err != nil || wait != want {
			t.Errorf("ForcedWait(%d) returns %v, error %v; want %v", limit, wait, err, want)
		}
	}
	lease.Release()
	commit(t, store, newToken("second"), true)
	commit(t, store, newToken("first"), false, "second")
}

func generate(t *testing.T) fleetkeys.Key {
	t.Helper()
	key, err := fleetkeys.Parse(secret.New(fleetkeys.Generate()))
	if err != nil {
		t.Fatal(err)
	}
	return key
}
