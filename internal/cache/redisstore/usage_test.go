package redisstore_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

func usageOf(t *testing.T, store *redisstore.Store, id string) (values []string) {
	t.Helper()
	all, err := store.Usage(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range all {
		values = append(values, string(value))
	}
	return values
}

func wantUsage(t *testing.T, store *redisstore.Store, id string, want ...string) {
	t.Helper()
	if got := usageOf(t, store, id); !slices.Equal(got, want) {
		t.Errorf("the usage of %s is %q, want %q", id, got, want)
	}
}

// setUsage replaces the usage of a credential.
func setUsage(t *testing.T, store *redisstore.Store, id, value string, found ...string) {
	t.Helper()
	err := store.UpdateUsage(t.Context(), []string{id}, func(_ string, known []json.RawMessage) json.RawMessage {
		if !slices.EqualFunc(known, found, func(a json.RawMessage, b string) bool { return string(a) == b }) {
			t.Errorf("the usage of %s was %q, want %q", id, known, found)
		}
		return json.RawMessage(value)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	one, other := open(t, server, keys), open(t, server, keys)
	wantUsage(t, one, "mail")
	setUsage(t, one, "mail", `{"a":1}`)
	setUsage(t, other, "mail", `{"a":2}`, `{"a":1}`)
	wantUsage(t, one, "mail", `{"a":2}`)
	wantUsage(t, one, "other")
	if left := server.Client().PTTL(t.Context(), keyOf(t, server.Client(), "usage")).Val(); left < 7*24*time.Hour-time.Minute || left > 7*24*time.Hour {
		t.Errorf("the usage expires in %v, want 7 days", left)
	}
}

// TestConcurrentUsage lets replicas add to the same value at the same time. No change may be lost.
func TestConcurrentUsage(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	var adding sync.WaitGroup
	for range 4 {
		store := open(t, server, keys)
		adding.Go(func() {
			for made := 0; made < 25; {
				err := store.UpdateUsage(t.Context(), []string{"mail"}, func(_ string, known []json.RawMessage) json.RawMessage {
					var ones []int
					for _, value := range known {
						_ = json.Unmarshal(value, &ones)
					}
					encoded, _ := json.Marshal(append(ones, 1))
					return encoded
				})
				if err == nil {
					made++
				} else if !strings.Contains(err.Error(), "other replicas") {
					t.Error(err)
					return
				}
			}
		})
	}
	adding.Wait()
	var ones []int
	if values := usageOf(t, open(t, server, keys), "mail"); len(values) != 1 || json.Unmarshal([]byte(values[0]), &ones) != nil || len(ones) != 100 {
		t.Errorf("the usage is %q, want 100 elements", values)
	}
}

// TestUsageOfSeveralCredentials changes the usage of several credentials at once, while another replica
// changes one of them. The script is not in the script cache of Redis.
func TestUsageOfSeveralCredentials(t *testing.T) {
	t.Parallel()
	server, rings := redistest.Start(t), phases(t)
	setUsage(t, open(t, server, rings[0]), "b", `["old"]`)
	store, other := open(t, server, rings[2]), open(t, server, rings[2])
	setUsage(t, store, "c", `1`)
	if err := server.Client().ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	var calls []string
	err := store.UpdateUsage(t.Context(), []string{"a", "b", "c"}, func(id string, known []json.RawMessage) json.RawMessage {
		if calls = append(calls, id); len(calls) == 2 {
			setUsage(t, other, "b", `["new"]`, `["old"]`)
		}
		encoded, _ := json.Marshal(known)
		return encoded
	})
	if err != nil || !slices.Equal(calls, []string{"a", "b", "c", "b"}) {
		t.Errorf("the function was called for %q, want a, b, c, and b again; the error is %v", calls, err)
	}
	wantUsage(t, store, "a", `null`)
	wantUsage(t, store, "b", `[["new"],["old"]]`, `["old"]`)
	wantUsage(t, store, "c", `[1]`)
}

// BenchmarkUpdateUsage measures the time for each credential if the usage of one or of 32 credentials
// is updated at once.
func BenchmarkUpdateUsage(b *testing.B) {
	server := redistest.Start(b)
	store := redisstore.New(redisstore.Options{Server: at(server.Addr()), Keys: fleetkeys.RandomRing(), Logger: slog.New(slog.DiscardHandler)})
	defer store.Close()
	usage := json.RawMessage(`{"callers": {"spiffe://example.org/mailer": [{"version": "0123456789012345678901", "sent": [29000000, 29000001], "used": [29000000, 29000001]}]}}`)
	for _, size := range []int{1, 32} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			ids, next := make([]string, size), 0
			for b.Loop() {
				if ids[next%size] = strconv.Itoa(next); next%size == size-1 {
					err := store.UpdateUsage(b.Context(), ids, func(string, []json.RawMessage) json.RawMessage { return usage })
					if err != nil {
						b.Fatal(err)
					}
				}
				next++
			}
		})
	}
}

// TestUsageDuringKeyRotation checks that the usage under the earlier fleet key is not lost.
func TestUsageDuringKeyRotation(t *testing.T) {
	t.Parallel()
	server, rings := redistest.Start(t), phases(t)
	setUsage(t, open(t, server, rings[0]), "mail", `1`)
	setUsage(t, open(t, server, rings[1]), "mail", `2`, `1`)
	setUsage(t, open(t, server, rings[2]), "mail", `3`, `2`)
	wantUsage(t, open(t, server, rings[1]), "mail", `2`, `3`)
	wantUsage(t, open(t, server, rings[3]), "mail", `3`)
}

// TestHostileUsage replaces the usage by values that no broker wrote. They are ignored, and replaced
// by the next change.
func TestHostileUsage(t *testing.T) {
	t.Parallel()
	server, keys, seen := redistest.Start(t), fleetkeys.RandomRing(), &observed{}
	store, admin := open(t, server, keys, withObserver(seen)), server.Client()
	setUsage(t, store, "mail", `{}`)
	place := keyOf(t, admin, "usage")
	sealed := admin.Get(t.Context(), place).Val()
	for name, spoil := range map[string]func() error{
		"text":      func() error { return admin.Set(t.Context(), place, "nonsense", time.Hour).Err() },
		"changed":   func() error { return admin.Set(t.Context(), place, sealed[:len(sealed)-1]+"x", time.Hour).Err() },
		"empty":     func() error { return admin.Set(t.Context(), place, "", time.Hour).Err() },
		"too large": func() error { return admin.Set(t.Context(), place, strings.Repeat(sealed, 20_000), time.Hour).Err() },
		"a hash": func() error {
			return errors.Join(admin.Del(t.Context(), place).Err(), admin.HSet(t.Context(), place, "a", "b").Err())
		},
		"endless":   func() error { return admin.Set(t.Context(), place, sealed, 0).Err() },
		"long life": func() error { return admin.Set(t.Context(), place, sealed, 8*24*time.Hour).Err() },
		"another credential's": func() error {
			setUsage(t, store, "other", `{"b":1}`)
			for _, one := range admin.Keys(t.Context(), "*:usage").Val() {
				if one != place {
					return errors.Join(admin.Rename(t.Context(), one, place).Err())
				}
			}
			return errors.New("no other key")
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			wantUsage(t, store, "mail")
			setUsage(t, store, "mail", `{"c":1}`)
			wantUsage(t, store, "mail", `{"c":1}`)
		})
	}
	if got := len(seen.takeUnreadable()); got < 14 {
		t.Errorf("Unreadable was called %d times", got)
	}
}

func TestUsageWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server, fleetkeys.RandomRing())
	server.Kill()
	_, err := store.Usage(t.Context(), "mail")
	updated := store.UpdateUsage(t.Context(), []string{"mail"}, func(string, []json.RawMessage) json.RawMessage { return json.RawMessage(`1`) })
	if err == nil || updated == nil {
		t.Errorf("without Redis, the errors are %v and %v", err, updated)
	}
}
