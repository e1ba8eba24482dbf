package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// withRedis makes a server store its tokens in the given Redis.
func withRedis(t *testing.T, redis *redistest.Server) func(*server.Options) {
	t.Helper()
	text := "token_cache: {redis: {url: \"" + redis.URL() + "\"}, fleet_keys: [{env: KEY}]}\ncredentials: []\n"
	key := fleetkeys.Generate()
	parsed, err := config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: func(string) (string, bool) { return key, true }})
	if err != nil {
		t.Fatal(err)
	}
	return func(o *server.Options) { o.Config.TokenCache = parsed.TokenCache }
}

// awaitAnswers waits until /readyz and /metrics answer as wanted. The path /readyz must never
// answer with an error.
func (h harness) awaitAnswers(readiness, metric string) (metrics string) {
	h.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		code, _, answer := h.fetch("/readyz")
		_, _, metrics := h.fetch("/metrics")
		if code != http.StatusOK {
			h.Fatalf("/readyz answers %d", code)
		}
		if answer == readiness && strings.Contains(metrics, "\n"+metric+"\n") {
			return metrics
		}
		select {
		case <-tick.C:
		case <-deadline:
			h.Fatalf("/readyz answers %q, want %q; or /metrics lacks %s", answer, readiness, metric)
		}
	}
}

// These are the expected answers of /readyz.
const (
	ready         = "ok\n"
	readyDegraded = "ok\ntoken cache: degraded: Redis is out of reach; this replica obtains tokens for itself\n"
)

// scrapeWithRedis returns the metrics of a broker that has lost its connection to Redis, after it
// stored a token there.
func scrapeWithRedis(t *testing.T) string {
	t.Helper()
	redis := redistest.Start(t)
	h := serve(t, withRedis(t, redis))
	if err := h.get("token-of-mail"); err != nil {
		t.Fatal(err)
	}
	redis.Kill()
	return h.awaitAnswers(readyDegraded, "authmaterial_token_cache_degraded 1")
}

// While Redis is unreachable, calls must not fail, and the log, /readyz and /metrics report the
// problem.
func TestRedisOutOfReach(t *testing.T) {
	redis := redistest.Start(t)
	h := serve(t, withRedis(t, redis))
	h.awaitAnswers(ready, "authmaterial_token_cache_degraded 0")

	redis.Kill()
	h.awaitAnswers(readyDegraded, "authmaterial_token_cache_degraded 1")
	if err := h.get("token-of-mail"); err != nil {
		t.Errorf("a call without Redis fails: %v", err)
	}
	h.wantHealth("")

	redis.Restart()
	h.awaitAnswers(ready, "authmaterial_token_cache_degraded 0")
	for _, message := range []string{
		"Redis is out of reach: each replica obtains tokens for itself",
		"Redis is back: the replicas share tokens again",
	} {
		h.awaitLine(message, 0)
		if lines := h.log.lines(t, message); len(lines) != 1 {
			t.Errorf("%d log lines have the message %q", len(lines), message)
		}
	}
}
