package redisstore_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/redistest"
)

// open returns a Store on a server, of a replica with these keys.
func open(t *testing.T, server *redistest.Server, keys *fleetkeys.Ring, change ...func(*redisstore.Options)) *redisstore.Store {
	t.Helper()
	options := redisstore.Options{
		Server: redisstore.Server{Addresses: []string{server.Addr()}},
		Keys:   keys,
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, change := range change {
		change(&options)
	}
	store := redisstore.New(options)
	t.Cleanup(store.Close)
	return store
}

// aheadClock is the real clock, put forward.
type aheadClock struct {
	clockwork.Clock
	ahead atomic.Int64
}

func (c *aheadClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.ahead.Load())) }

func (c *aheadClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// letTimePass makes every key of a server as old as it will be after the time d.
const letTimePass = `
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 and left <= tonumber(ARGV[1]) then
    redis.call('DEL', key)
  elseif left >= 0 then
    redis.call('PEXPIRE', key, left - ARGV[1])
  end
  if string.sub(key, -7) == ':forced' and redis.call('EXISTS', key) == 1 then
    for i, at in ipairs(redis.call('LRANGE', key, 0, -1)) do
      redis.call('LSET', key, i - 1, at - ARGV[1])
    end
  end
end`

// advance lets time pass for a clock and a server alike.
func advance(t *testing.T, clock *aheadClock, client *redis.Client, d time.Duration) {
	t.Helper()
	clock.ahead.Add(int64(d))
	if err := client.Eval(context.Background(), letTimePass, nil, d.Milliseconds()).Err(); err != nil && err != redis.Nil {
		t.Fatal(err)
	}
}
