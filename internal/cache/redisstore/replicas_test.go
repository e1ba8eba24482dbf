package redisstore_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

func replicaNamed(name string) redisstore.Replica {
	return redisstore.Replica{
		Name: name, Version: "1.2.3", StartTime: time.Unix(1_800_000_000, 0).UTC(), ConfigurationTime: time.Unix(1_800_000_100, 0).UTC(),
		Problems: 2, StoreConfigured: true,
	}
}

func announce(t *testing.T, store *redisstore.Store, replica redisstore.Replica) {
	t.Helper()
	if err := store.Announce(t.Context(), replica); err != nil {
		t.Fatal(err)
	}
}

func wantReplicas(t *testing.T, store *redisstore.Store, want ...redisstore.Replica) {
	t.Helper()
	got, err := store.Replicas(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b redisstore.Replica) int { return strings.Compare(a.Name, b.Name) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the replicas (-want +got):\n%s", diff)
	}
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	one, other := open(t, server, keys), open(t, server, keys)
	wantReplicas(t, one)
	a, b := replicaNamed("a"), replicaNamed("b")
	announce(t, one, a)
	announce(t, other, b)
	wantReplicas(t, one, a, b)
	wantReplicas(t, other, a, b)

	age(t, server.Client(), 3*time.Second)
	a.Problems, a.StoreAvailable = 0, true
	announce(t, one, a)
	wantReplicas(t, other, a, b)
	if err := other.Withdraw(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	wantReplicas(t, one, a)
	announce(t, other, b)
	wantReplicas(t, one, a, b)
}

func elements(t *testing.T, server *redistest.Server, list string) []string {
	t.Helper()
	all, err := server.Client().LRange(t.Context(), list, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func formatMilliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// letAnnouncementsAge makes all announcements of a server older.
func letAnnouncementsAge(t *testing.T, server *redistest.Server, d time.Duration) {
	t.Helper()
	list := keyOf(t, server.Client(), "replicas")
	for i, element := range elements(t, server, list) {
		at, record, _ := strings.Cut(element, " ")
		ms, err := time.ParseDuration(at + "ms")
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Client().LSet(t.Context(), list, int64(i), formatMilliseconds(ms-d)+" "+record).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// A replica that dies disappears from the list after 15 seconds, and from Redis with the next
// announcement of another replica.
func TestReplicasExpire(t *testing.T) {
	t.Parallel()
	server, keys, seen := redistest.Start(t), fleetkeys.RandomRing(), &observed{}
	one, other := open(t, server, keys), open(t, server, keys, withObserver(seen))
	a, b := replicaNamed("a"), replicaNamed("b")
	announce(t, one, a)
	list := keyOf(t, server.Client(), "replicas")
	letAnnouncementsAge(t, server, 5*time.Second)
	wantReplicas(t, other, a)
	letAnnouncementsAge(t, server, 10*time.Second)
	wantReplicas(t, other)
	if got := seen.takeUnreadable(); len(got) != 0 {
		t.Errorf("the calls of Unreadable are %q", got)
	}
	announce(t, other, b)
	wantReplicas(t, one, b)
	if got := len(elements(t, server, list)); got != 1 {
		t.Errorf("Redis has %d announcements, want 1", got)
	}
	if left := server.Client().PTTL(t.Context(), list).Val(); left <= 0 || left > 15*time.Second {
		t.Errorf("the list expires in %v, want 15 s at most", left)
	}
}

// Replicas ignores what no broker wrote, and Announce removes it.
func TestHostileReplicas(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	client, seen := server.Client(), &observed{}
	store := open(t, server, keys, withObserver(seen))
	announce(t, store, replicaNamed("a"))
	list := keyOf(t, client, "replicas")
	now := formatMilliseconds(time.Duration(time.Now().UnixNano()))
	seal := func(key, text string) string { return now + " " + string(keys.Seal(key, []byte(text))) }
	const times = `"start_time":"2026-11-29T00:00:00Z","configuration_time":"2026-11-29T00:00:00Z"`
	for name, element := range map[string]string{
		"not encrypted":       now + ` {"name":"x","version":"1",` + times + `}`,
		"of another list":     seal("authmaterial:1:{0}:replicas", `{"name":"x","version":"1",`+times+`}`),
		"no name":             seal(list, `{"version":"1",`+times+`}`),
		"long name":           seal(list, `{"name":"`+strings.Repeat("x", 101)+`","version":"1",`+times+`}`),
		"control character":   seal(list, `{"name":"x\u001b[2J","version":"1",`+times+`}`),
		"right to left":       seal(list, `{"name":"x\u202e","version":"1",`+times+`}`),
		"no version":          seal(list, `{"name":"x",`+times+`}`),
		"no times":            seal(list, `{"name":"x","version":"1"}`),
		"the year 0":          seal(list, `{"name":"x","version":"1","start_time":"0000-01-01T00:00:00Z","configuration_time":"2026-11-29T00:00:00Z"}`),
		"negative problems":   seal(list, `{"name":"x","version":"1",`+times+`,"problems":-1}`),
		"many problems":       seal(list, `{"name":"x","version":"1",`+times+`,"problems":5000000000}`),
		"stopped, no name":    seal(list, `{"stopped":true}`),
		"not JSON":            seal(list, `]`),
		"nothing":             now + " ",
		"of the broker's key": now + " " + string(keys.Header()),
	} {
		if err := client.LPush(t.Context(), list, element).Err(); err != nil {
			t.Fatal(err)
		}
		wantReplicas(t, store, replicaNamed("a"))
		if got := seen.takeUnreadable(); len(got) != 1 {
			t.Errorf("%s: the calls of Unreadable are %q, want one", name, got)
		}
		if err := client.LTrim(t.Context(), list, 1, -1).Err(); err != nil {
			t.Fatal(err)
		}
	}
	good := seal(list, `{"name":"x","version":"1",`+times+`}`)[len(now):]
	for _, element := range []string{
		"", " ", "x", now, strings.Repeat("9", 400) + good, "-1" + good, "0" + good, now + "0" + good,
		now + " " + strings.Repeat("x", 4<<20), strings.Repeat("x", 4<<20), strings.Repeat("1", 1<<20),
	} {
		if err := client.RPush(t.Context(), list, element).Err(); err != nil {
			t.Fatal(err)
		}
	}
	wantReplicas(t, store, replicaNamed("a"))
	if got := seen.takeUnreadable(); len(got) != 0 {
		t.Errorf("the calls of Unreadable are %q", got)
	}
	announce(t, store, replicaNamed("b"))
	wantReplicas(t, store, replicaNamed("a"), replicaNamed("b"))
	if degraded := seen.degraded(); len(degraded) != 0 {
		t.Errorf("Redis counted as out of reach: %v", degraded)
	}
}

// Redis has more announcements than a broker reads.
func TestManyReplicas(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	store := open(t, server, keys)
	announce(t, store, replicaNamed("a"))
	list := keyOf(t, server.Client(), "replicas")
	for range 1500 {
		if err := server.Client().LPush(t.Context(), list, "x").Err(); err != nil {
			t.Fatal(err)
		}
	}
	wantReplicas(t, store)
	announce(t, store, replicaNamed("a"))
	wantReplicas(t, store, replicaNamed("a"))
	if got := len(elements(t, server, list)); got > 1000 {
		t.Errorf("Redis has %d announcements, want 1000 at most", got)
	}
}

// While a fleet key is being replaced, the replicas see each other.
func TestReplicasDuringARotation(t *testing.T) {
	t.Parallel()
	server, rings := redistest.Start(t), phases(t)
	var stores []*redisstore.Store
	for _, ring := range rings {
		stores = append(stores, open(t, server, ring))
	}
	for i, store := range stores {
		announce(t, store, replicaNamed(string(rune('a'+i))))
	}
	// The replicas of two successive phases run at the same time.
	wantReplicas(t, stores[0], replicaNamed("a"), replicaNamed("b"))
	for _, store := range stores[1:3] {
		wantReplicas(t, store, replicaNamed("a"), replicaNamed("b"), replicaNamed("c"), replicaNamed("d"))
	}
	wantReplicas(t, stores[3], replicaNamed("c"), replicaNamed("d"))
}
