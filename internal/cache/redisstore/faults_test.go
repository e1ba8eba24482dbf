package redisstore_test

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/testing/redistest"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// mostOperation limits how long a refresh may wait for Redis in the tests. The product's limit
	// is 2 s, but a busy machine needs more time.
	mostOperation = 3 * time.Second
	// mostRecovery limits how long the effects of a fault may last after it has ended.
	mostRecovery = 10 * time.Second
)

type redisFault struct {
	arguments []string // command-line arguments of the server
	password  string   // password that the Store uses
	proxied   bool     // the Store connects through the proxy
	begin     func(*victim)
	end       func(*victim)
	failure   string // the expected result of operations during the fault
}

type victim struct {
	*testing.T
	server *redistest.Server
	proxy  *redistest.FaultProxy
}

// do runs commands, whose arguments are separated by spaces, on the server.
func (v *victim) do(commands ...string) {
	v.Helper()
	for _, command := range commands {
		var words []any
		for word := range strings.SplitSeq(command, " ") {
			words = append(words, strings.Trim(word, `"`))
		}
		if err := v.server.Client().Do(v.Context(), words...).Err(); err != nil {
			v.Fatalf("%s: %v", command, err)
		}
	}
}

var redisFaults = map[string]redisFault{
	"refused": {
		begin:   func(v *victim) { v.server.Kill() },
		end:     func(v *victim) { v.server.Restart() }, // the server starts without its data
		failure: "connection",
	},
	"hung": {
		begin:   func(v *victim) { v.server.Stop() },
		end:     func(v *victim) { v.server.Continue() },
		failure: "timeout",
	},
	"slow": {
		proxied: true,
		begin:   func(v *victim) { v.proxy.Delay(3 * time.Second) },
		end:     func(v *victim) { v.proxy.Pass() },
		failure: "timeout",
	},
	"black hole": {
		proxied: true,
		begin:   func(v *victim) { v.proxy.Blackhole() },
		end:     func(v *victim) { v.proxy.Pass() },
		failure: "timeout",
	},
	"connections closed": {
		proxied: true,
		begin:   func(v *victim) { v.proxy.Refuse() },
		end:     func(v *victim) { v.proxy.Pass() },
		failure: "connection",
	},
	"read-only replica": {
		begin:   func(v *victim) { v.do("REPLICAOF 127.0.0.1 1") },
		end:     func(v *victim) { v.do("REPLICAOF NO ONE") },
		failure: "readonly",
	},
	"out of memory": {
		begin:   func(v *victim) { v.do("CONFIG SET maxmemory 1") },
		end:     func(v *victim) { v.do("CONFIG SET maxmemory 0") },
		failure: "oom",
	},
	"no password given": {
		begin:   func(v *victim) { v.do("CONFIG SET requirepass swordfish", "CLIENT KILL TYPE normal") },
		end:     func(v *victim) { v.do(`CONFIG SET requirepass ""`) },
		failure: "(noauth|err)", // ERR is the result of commands that have more than ten words
	},
	"wrong password": {
		arguments: []string{"--requirepass", "swordfish"},
		password:  "swordfish",
		begin:     func(v *victim) { v.do("CONFIG SET requirepass changed", "CLIENT KILL TYPE normal") },
		end:       func(v *victim) { v.do("CONFIG SET requirepass swordfish") },
		failure:   "wrongpass",
	},
	"commands not permitted": {
		begin:   func(v *victim) { v.do("ACL SETUSER default -evalsha -eval") },
		end:     func(v *victim) { v.do("ACL SETUSER default +@all") },
		failure: "noperm",
	},
}

func TestRedisFaults(t *testing.T) {
	for name, fault := range redisFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, fault.arguments...)
			v := &victim{T: t, server: server, proxy: redistest.Proxy(t, server.Addr())}
			address := at(server.Addr())
			if fault.proxied {
				address = at(v.proxy.Addr())
			}
			address.Password = secret.New(fault.password)
			r := newCaller(t, address)
			r.call("before", 1)

			fault.begin(v)
			for i := 0; len(r.degraded()) == 0; i++ {
				r.goOn("while the breaker is closed", i)
			}
			opened := r.count("probe")
			fastFailures := r.count("look not_tried")
			for i := 0; r.count("probe") < opened+30; i++ { // long enough for at least three attempts to reach Redis
				r.goOn("while the breaker is open", i)
			}
			if r.count("look not_tried") == fastFailures {
				t.Error("no operation failed at once")
			}
			if got := r.degraded(); !slices.Equal(got, []bool{true}) {
				t.Fatalf("during the fault, Degraded is called with %v, want [true]", got)
			}
			r.wantLines(outOfReach + fault.failure + `$`)
			missed := r.missed.Load()

			fault.end(v)
			ended := time.Now()
			for i := 0; len(r.degraded()) < 2; i++ {
				r.goOn("after", i)
				if time.Since(ended) > mostRecovery {
					t.Fatalf("the Store has not recovered after %v: operations %v, log %v", mostRecovery, r.operations, r.log.String())
				}
			}
			eventually(t, "news count as missed", func() bool { return r.missed.Load() > missed })
			t.Logf("recovered after %v", time.Since(ended))
			r.wantRecovered(server)
		})
	}
}

type caller struct {
	*replica
	*testing.T
	cache    *cache.Cache
	requests atomic.Int32
	pause    *time.Ticker // the pause between two calls
}

func newCaller(t *testing.T, server redisstore.Server, change ...func(*redisstore.Options)) *caller {
	t.Helper()
	c := &caller{replica: &replica{}, T: t, pause: time.NewTicker(2 * time.Millisecond)}
	t.Cleanup(c.pause.Stop)
	c.Store = openAt(t, server, fleetkeys.RandomRing(), append(change, func(o *redisstore.Options) {
		o.Observer = &c.observed
		o.Logger = slog.New(slog.NewTextHandler(&c.log, nil))
	})...)
	c.cache = cache.New(cache.Options{Store: c.replica, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(c.cache.Close)
	eventually(t, "the Store follows", func() bool { return c.missed.Load() > 0 })
	return c
}

type source struct {
	key      string
	requests *atomic.Int32
}

func (s source) TokenKey() string { return s.key }

func (s source) RequestToken(context.Context) (*token.Token, error) {
	return newToken(s.value(s.requests.Add(1))), nil
}

func (s source) value(n int32) string { return fmt.Sprintf("token %d of %s", n, s.key) }

// call asks the Cache for the token of an account, which must arrive in time.
func (c *caller) call(when string, account int) {
	c.Helper()
	s := source{key: fmt.Sprint(when, account), requests: &c.requests}
	began := time.Now()
	got, err := c.cache.Token(c.Context(), s)
	if err != nil || !strings.HasSuffix(value(got), "of "+s.key) {
		c.Fatalf("the call for account %d that was made %s returned token %q, error %v", account, when, value(got), err)
	}
	if took := time.Since(began); took > 4*mostOperation {
		c.Errorf("the call for account %d that was made %s took %v", account, when, took)
	}
}

// goOn makes three calls: for a token that the Cache has in memory, for one of a hundred other
// tokens, and to the Store itself.
func (c *caller) goOn(when string, i int) {
	c.Helper()
	c.operate()
	c.call("before", 1)
	c.call(when, i%100)
	<-c.pause.C
}

// operate calls the Store as the Cache does for a token that is not in memory. The Store may fail,
// but must return in time.
func (c *caller) operate() {
	c.Helper()
	began := time.Now()
	_, _ = c.Load(c.Context(), "operated on")
	if took := time.Since(began); took > mostOperation {
		c.Errorf("Load took %v", took)
	}
	began = time.Now()
	if _, lease, err := c.Lock(c.Context(), "operated on", never); err == nil {
		lease.Release()
	}
	if took := time.Since(began); took > 3*mostOperation {
		c.Errorf("Lock took %v", took)
	}
	_ = c.ForgetFailures(c.Context())
}

// These lines are logged when Redis becomes unreachable, and when it can be reached again.
const (
	outOfReach = `level=WARN msg="Redis is out of reach: each replica obtains tokens for itself" failure=`
	isBack     = `level=INFO msg="Redis is back: the replicas share tokens again"$`
)

func (c *caller) wantLines(patterns ...string) {
	c.Helper()
	lines := strings.Split(strings.TrimSpace(c.log.String()), "\n")
	matches := func(line, pattern string) bool { return regexp.MustCompile(pattern).MatchString(line) }
	if !slices.EqualFunc(lines, patterns, matches) {
		c.Errorf("the logged lines are %q, want %q", lines, patterns)
	}
}

func (c *caller) wantRecovered(server *redistest.Server) {
	c.Helper()
	if got := c.degraded(); !slices.Equal(got, []bool{true, false}) {
		c.Errorf("Degraded is called with %v, want [true false]", got)
	}
	c.wantLines(outOfReach, isBack)
	eventually(c.T, "the token from before the fault is in Redis", func() bool {
		c.call("before", 1)
		record, err := c.Load(c.Context(), "before1")
		return err == nil && strings.HasSuffix(value(record.Token), "of before1")
	})
	requests := c.requests.Load()
	for _, when := range []string{"before", "after"} {
		c.call(when, 1)
	}
	if more := c.requests.Load() - requests; more > 1 { // the second account may still need its first token
		c.Errorf("%d token requests for accounts whose tokens are already in the Cache", more)
	}
	if n := server.Client().DBSize(c.Context()).Val(); n == 0 {
		c.Error("Redis has no keys")
	}
}

// One replica has a lock, another waits for it, and Redis begins to refuse writes. The waiting
// replica must notice this: its circuit breaker opens, and stays open.
func TestHeldLockOnAServerWithoutWrites(t *testing.T) {
	server, keys := redistest.Start(t), fleetkeys.RandomRing()
	holder, waiter := start(t, at(server.Addr()), keys), start(t, at(server.Addr()), keys)
	never := func(cache.Record) bool { return false }
	_, lease, err := holder.Lock(t.Context(), key, never)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	if err := server.Client().Do(t.Context(), "CONFIG", "SET", "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an operation was not tried", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, _, _ = waiter.Lock(ctx, "another", never)
		_, _, _ = waiter.Lock(ctx, key, never)
		return slices.Equal(waiter.degraded(), []bool{true}) && waiter.counts()["lock not_tried"]+waiter.counts()["look not_tried"] > 10
	})
}
