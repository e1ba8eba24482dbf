package redisstore_test

import (
	"encoding/json"
	"errors"
	"slices"
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
	err := store.UpdateUsage(t.Context(), id, func(known []json.RawMessage) json.RawMessage {
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
				err := store.UpdateUsage(t.Context(), "mail", func(known []json.RawMessage) json.RawMessage {
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
	updated := store.UpdateUsage(t.Context(), "mail", func([]json.RawMessage) json.RawMessage { return json.RawMessage(`1`) })
	if err == nil || updated == nil {
		t.Errorf("without Redis, the errors are %v and %v", err, updated)
	}
}
