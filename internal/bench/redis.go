package main

import (
	"context"
	"fmt"
	"io"

	"github.com/authmaterial/broker/internal/redistest"
)

// longerRound is how many times longer the rounds of a stopped Redis are: by default
// they show what is before and after it counts as out of reach.
const longerRound = 2

// printRedisHead says what is measured with Redis.
func printRedisHead(out io.Writer, chosen settings) {
	fmt.Fprintf(out, `
What Redis costs the warm call: a broker with token_cache.redis beside
- one that keeps tokens in memory (goal: within 5%%);
- one that reads Redis on every call. That one is favoured: it is the broker's own
  code, with as many goroutines for calls, and has no interceptors: no metrics, log or
  recovery;
- itself while the redis-server is stopped by SIGSTOP (goal: p99 within 2 times). Each
  round lasts %s, from the moment of the stop on: at first what is asked of Redis times
  out; after about 2s Redis counts as out of reach, of which the broker warns on
  standard error. Redis is back before the next round.
The redis-server is a process of its own on the loopback interface. Its processor time
is not in the servers'.
`, longerRound*chosen.roundDuration)
}

// measureRedis prints what Redis costs, and says so where there is none.
func measureRedis(ctx context.Context, chosen settings, out io.Writer) error {
	if _, err := redistest.Find(); err != nil {
		fmt.Fprintf(out, "\nNOT MEASURED: what Redis costs the warm call. %v\n", err)
		return nil
	}
	printRedisHead(out, chosen)
	return with(ctx, roleRedis, task{}, func(redis redisServer) error {
		return with(ctx, roleBroker, task{Redis: redis.Address}, func(shared endpoint) error {
			if err := besideMemory(ctx, chosen, shared, out); err != nil {
				return err
			}
			if err := besideReading(ctx, chosen, redis, shared, out); err != nil {
				return err
			}
			return besideStopped(ctx, chosen, redis, shared, out)
		})
	})
}

// besideMemory compares a broker with Redis with one that has none.
func besideMemory(ctx context.Context, chosen settings, shared endpoint, out io.Writer) error {
	return with(ctx, roleBroker, task{}, func(alone endpoint) error {
		told := chosen.task(warmToken.credential)
		told.First, told.Second = side{Name: "with Redis", At: shared}, side{Name: "memory", At: alone}
		return compare(ctx, chosen, warmTokenAnd("Redis beside memory"), told, out)
	})
}

// besideReading compares it with one that reads Redis on every call.
func besideReading(ctx context.Context, chosen settings, redis redisServer, shared endpoint, out io.Writer) error {
	return with(ctx, roleReading, task{Redis: redis.Address}, func(reading endpoint) error {
		told := chosen.task(warmToken.credential)
		told.First, told.Second = side{Name: "with Redis", At: shared}, side{Name: "reads Redis", At: reading}
		return compare(ctx, chosen, warmTokenAnd("Redis beside reading it"), told, out)
	})
}

// besideStopped compares it with itself, while Redis is stopped.
func besideStopped(ctx context.Context, chosen settings, redis redisServer, shared endpoint, out io.Writer) error {
	told := chosen.task(warmToken.credential)
	told.RoundDuration *= longerRound
	told.First = side{Name: "Redis stopped", At: shared, Stopped: redis.Process}
	told.Second = side{Name: "Redis well", At: shared}
	return compare(ctx, chosen, warmTokenAnd("Redis stopped"), told, out)
}

// warmTokenAnd is the subject of a comparison.
func warmTokenAnd(what string) subject {
	return subject{warmToken.credential, warmToken.kind + ", " + what}
}
