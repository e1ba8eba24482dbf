package redisstore_test

import (
	"bufio"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

func announcer(t *testing.T, reply string) (address string) {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				for commands := bufio.NewReader(conn); ; {
					if _, err := commands.ReadBytes('\n'); err != nil {
						return
					}
					if _, err := conn.Write([]byte(reply)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// A server, a Sentinel and a node of a Cluster announce more data than they send. Each operation
// must fail, and must not allocate memory for the announced data. The operations with all replies run
// at the same time, because most of them wait for a time limit.
func TestRepliesThatAnnounceTooMuch(t *testing.T) {
	const most = 64 << 20 // limit of all memory that is allocated for all replies together, in bytes
	for kind, server := range map[string]redisstore.Server{
		"server": {}, "Sentinel": {SentinelMaster: "mymaster"}, "Cluster": {Cluster: true},
	} {
		t.Run(kind, func(t *testing.T) {
			stores := map[string]*redisstore.Store{}
			for name, reply := range announcements {
				server.Addresses = []string{announcer(t, reply)}
				stores[name] = openAt(t, server, fleetkeys.RandomRing())
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var loads sync.WaitGroup
			for name, store := range stores {
				loads.Go(func() {
					for range 3 {
						if _, err := store.Load(t.Context(), key); err == nil {
							t.Errorf("the reply with %s is accepted", name)
						}
					}
				})
			}
			loads.Wait()
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > most {
				t.Errorf("%d MiB were allocated, want %d at most", got>>20, most>>20)
			}
		})
	}
}

// announcements are replies that announce more data than they contain, by their names.
var announcements = map[string]string{
	"a string of 128 GiB":    "$137438953472\r\n",
	"a string of 256 MiB":    "$268435456\r\n",
	"a billion elements":     "*1000000000\r\n",
	"30 million elements":    "*30000000\r\n",
	"arrays of large arrays": strings.Repeat("*60000\r\n", 2000),
	"arrays in arrays":       strings.Repeat("*1\r\n", 1<<20),
	"a map":                  "%100000000\r\n",
	"a set":                  "~100000000\r\n",
	"pushed data":            ">100000000\r\n",
	"an error of 1 GiB":      "!1073741824\r\n",
	"an endless error":       "-" + strings.Repeat("x", 1<<20),
	"nothing of Redis":       "HTTP/1.1 400 Bad Request\r\n\r\n",
}

// Redis has entries that are larger than any entry that the broker writes.
func TestOversizedEntries(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	seen := &observed{}
	store := open(t, server, fleetkeys.RandomRing(), withObserver(seen))
	commit(t, store, newToken("first"), false)
	fail(t, store)
	e := entries{t, server.Client(), keyOf(t, server.Client(), "token"), keyOf(t, server.Client(), "failure")}
	large := strings.Repeat("x", 32<<20)
	e.set(e.token, large)
	e.set(e.failure, large)
	record, err := store.Load(t.Context(), key)
	if err != nil || record.Token != nil || record.Failure != nil {
		t.Errorf("Load returns record %+v, error %v; want an empty record", record, err)
	}
	if got := seen.takeUnreadable(); !slices.Equal(got, []string{"damaged", "damaged"}) {
		t.Errorf("the calls of Unreadable are %q", got)
	}
	fail(t, store)
	commit(t, store, newToken("second"), false)
	wantToken(t, store, "second")
	if degraded := seen.degraded(); len(degraded) != 0 {
		t.Errorf("Redis counted as out of reach: %v", degraded)
	}
}

// The stream has an event that is too large to read. One replica follows the stream when the event
// is added, and another replica starts to follow the stream later.
func TestOversizedEvents(t *testing.T) {
	t.Parallel()
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	one := start(t, at(server.Addr()), keys)
	wantToken(t, one, "")
	oversized := func() {
		t.Helper()
		err := server.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: changesKey, Values: []string{"kind", strings.Repeat("x", 32<<20)}}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	oversized()
	event := []string{"kind", "token", "name", "of no replica", "by", "another"}
	if err := server.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: changesKey, Values: event}).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica follows again", func() bool { return one.missed.Load() > 1 })
	eventually(t, "the entry is removed", func() bool {
		bytes, err := server.Client().MemoryUsage(t.Context(), changesKey).Result()
		return err == redis.Nil || err == nil && bytes < 1<<20 //nolint:errorlint // go-redis does not wrap redis.Nil
	})
	missed := one.missed.Load()
	oversized()
	other := start(t, at(server.Addr()), keys)
	wantToken(t, other, "")
	eventually(t, "the first replica has removed the event, and removes no later ones", func() bool { return one.missed.Load() > missed })
	third := open(t, server, keys)
	commit(t, third, newToken("first"), false)
	eventually(t, "the other replica receives the event", func() bool { return slices.Contains(other.heard(), key) })
	if degraded := slices.Concat(one.degraded(), other.degraded()); len(degraded) != 0 {
		t.Errorf("Redis counted as out of reach: %v", degraded)
	}
}

// While a replica cannot reach Redis, an event that is too large to read is added to the stream,
// and then a small event.
func TestOversizedEventInAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.Proxy(t, server.Addr())
	one := start(t, at(proxy.Addr()), fleetkeys.RandomRing())
	wantToken(t, one, "")
	proxy.Refuse()
	eventually(t, "the replica is without Redis", func() bool { return len(one.degraded()) > 0 })
	for _, kind := range []string{strings.Repeat("x", 32<<20), "small"} {
		if err := server.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: changesKey, Values: []string{"kind", kind}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	proxy.Pass()
	eventually(t, "the entry is removed", func() bool {
		bytes, err := server.Client().MemoryUsage(t.Context(), changesKey).Result()
		return err == redis.Nil || err == nil && bytes < 1<<20 //nolint:errorlint // go-redis does not wrap redis.Nil
	})
}
