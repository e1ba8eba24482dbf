package fleettest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/testing/fleettest"
)

type failure struct {
	what       string
	failure    simulator.Failure
	retryAfter time.Duration // delay in the header Retry-After; 0 if the answer has no such header
}

// gatewayDelay is the Retry-After delay of a gateway that limits the rate of requests.
const gatewayDelay = 3 * time.Second

// gateways contains answers of a gateway in front of the provider. The token endpoint itself never
// sends such answers, so they do not mean that the credential was rejected.
var gateways = []failure{
	{"a gateway answers 403 in HTML", simulator.HTMLPage(http.StatusForbidden), 0},
	{"a gateway answers 404 in HTML", simulator.HTMLPage(http.StatusNotFound), 0},
	{"a gateway answers 421 in HTML", simulator.HTMLPage(http.StatusMisdirectedRequest), 0},
	{"a gateway answers 502 in HTML", simulator.HTMLPage(http.StatusBadGateway), 0},
	{"a gateway answers 200 in HTML", simulator.HTMLPage(http.StatusOK), 0},
	{"a gateway answers 429", simulator.TooManyRequests("3"), gatewayDelay},
	{"a gateway answers 403 in HTML with Retry-After", retryLater(http.StatusForbidden, "text/html", "<h1>Forbidden</h1>"), gatewayDelay},
	{"a gateway answers 403 rate_limit_exceeded", retryLater(http.StatusForbidden, "application/json", `{"error":"rate_limit_exceeded"}`), gatewayDelay},
	{"a gateway answers 200 internal_error", simulator.AnswerWith(http.StatusOK, "application/json", `{"error":"internal_error"}`), 0},
}

func retryLater(status int, contentType, body string) simulator.Failure {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Retry-After", fmt.Sprint(int(gatewayDelay.Seconds())))
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
}

// mostMemory is the memory that a broker may use, in bytes.
const mostMemory = 128 << 20

// foreignSize is the size of the values that another client writes into Redis, in bytes.
const foreignSize = 32 << 20

// hostileReplies contains replies that Redis never sends, or never sends to the commands of the
// broker. Some replies announce a large size, but only the first one contains as much data as it
// announces.
var hostileReplies = [][]byte{
	[]byte("$67108864\r\n" + strings.Repeat("x", 64<<20) + "\r\n"),
	[]byte("$137438953472\r\n"),
	[]byte("*1000000000\r\n"),
	[]byte("%1000000000\r\n"),
	[]byte("~1000000000\r\n"),
	[]byte(">1000000000\r\n"),
	[]byte("|1000000000\r\n"),
	[]byte("=137438953472\r\n"),
	[]byte("!137438953472\r\n"),
	[]byte("$9223372036854775807\r\n"),
	[]byte("$-2\r\n"),
	[]byte("*-5\r\n"),
	[]byte(strings.Repeat("*1\r\n", 1<<18)),
	[]byte("*2\r\n$5\r\ntoken\r\n*1000000000\r\n*1000000000\r\n"),
	[]byte("$64\r\nthe rest of this never comes"),
	[]byte("*5\r\n:1\r\n"),
	[]byte("+" + strings.Repeat("x", 1<<20)),
	[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	[]byte("\x00\x01\x02\xff\xfe\r\n"),
	[]byte("\r\n\r\n"),
	[]byte("+OK\r\n"),
	[]byte(":1\r\n"),
	[]byte(":99999999999999999999999999\r\n"),
	[]byte("$-1\r\n"),
	[]byte("_\r\n"),
	[]byte("*0\r\n"),
	[]byte("#t\r\n"),
	[]byte(",1.5\r\n"),
	[]byte("%1\r\n+server\r\n+redis\r\n"),
	[]byte("*5\r\n$0\r\n\r\n:-1\r\n$0\r\n\r\n:-1\r\n:0\r\n"),
	[]byte("*5\r\n$7\r\ngarbage\r\n:86400000\r\n$-1\r\n:-2\r\n:0\r\n"),
	[]byte("-ERR\r\n"),
	[]byte("-NOAUTH Authentication required.\r\n"),
	[]byte("-MOVED 1 127.0.0.1:1\r\n"),
	[]byte("-LOADING Redis is loading the dataset in memory\r\n"),
}

func (s *soak) hostileRedis(c *cost) []action {
	switch s.random.IntN(4) {
	case 0:
		return s.foreignEvent(c)
	case 1:
		return s.foreignTokens(c)
	default:
		return s.hostileReplies(c)
	}
}

// hostileReplies lets a proxy between Redis and some of the brokers replace some of Redis' replies.
func (s *soak) hostileReplies(c *cost) []action {
	c.redis, c.hostile = true, true
	every := 1 + s.random.IntN(6)
	var replies [][]byte
	for _, i := range s.random.Perm(len(hostileReplies)) {
		replies = append(replies, hostileReplies[i])
	}
	return s.lasting(fmt.Sprintf("replace one in %d replies of Redis, first by %.20q", every, replies[0]), func() {
		s.redis.begin()
		s.lies.begin()
		s.proxy.Replace(every, replies...)
	}, "replace none", s.proxy.Pass)
}

// foreignEvent writes a large event into Redis.
func (s *soak) foreignEvent(c *cost) []action {
	return s.foreign(c, "write 32 MiB onto the stream of changes", func(ctx context.Context) error {
		return s.server.Client().Do(ctx, "XADD", "authmaterial:1:changes", "*",
			"kind", "token", "name", strings.Repeat("x", foreignSize), "by", "another client").Err()
	})
}

// foreignTokens overwrites all tokens in Redis with other data. Half of the data stays in Redis
// longer than any token of the brokers. All of the data must expire, because after a secret
// rotation no broker writes to the Redis keys of the old secret again.
func (s *soak) foreignTokens(c *cost) []action {
	return s.foreign(c, "write 32 MiB over each token", func(ctx context.Context) error {
		client := s.server.Client()
		keys, err := client.Keys(ctx, "authmaterial:1:*:token").Result()
		for i, key := range keys {
			set := []any{"SET", key, strings.Repeat("x", foreignSize)}
			if i%2 == 0 {
				set = append(set, "KEEPTTL")
			} else {
				set = append(set, "PX", (soakLife + 2*time.Second).Milliseconds())
			}
			err = errors.Join(err, client.Do(ctx, set...).Err())
		}
		return err
	})
}

// `foreign` lets another client write into Redis, unless Redis is down.
func (s *soak) foreign(c *cost, what string, write func(context.Context) error) []action {
	c.redis, c.hostile = true, true
	return []action{{s.moment(latestFault + longestFault), what, func() {
		if !s.server.Runs() {
			return
		}
		s.redis.begin()
		ctx, cancel := context.WithTimeout(s.Context(), fleettest.Patience)
		defer cancel()
		if err := write(ctx); err != nil {
			s.Errorf("write into Redis: %v", err)
		}
	}}}
}

// checkForeign returns an error while Redis uses so much memory that it must still contain entries
// of another client.
func (s *soak) checkForeign() error {
	ctx, cancel := context.WithTimeout(s.Context(), fleettest.Patience)
	defer cancel()
	info, err := s.server.Client().InfoMap(ctx, "memory").Result()
	if err != nil {
		return err
	}
	used, err := strconv.Atoi(info["Memory"]["used_memory"])
	if err == nil && used > foreignSize {
		err = fmt.Errorf("Redis uses %d MiB, so it must still contain entries of another client", used>>20)
	}
	return err
}

// busyMachine starts processes that use all CPU cores. No call may fail while these processes run.
func (s *soak) busyMachine(*cost) []action {
	var end func()
	return s.lasting("sixteen processes use the cores", func() {
		s.busy.begin()
		end = fleettest.Busy(s, 16)
	}, "they end", func() { end() })
}
