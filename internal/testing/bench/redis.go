package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/authmaterial/broker/internal/testing/redistest"
)

// stoppedRounds is how many times longer a round with a suspended Redis is than other rounds, so
// that the broker considers Redis unreachable before the round ends.
const stoppedRounds = 8

// measureRedis prints how much Redis slows the warm call, or that redis-server is not installed.
func measureRedis(ctx context.Context, chosen options, out io.Writer) error {
	if _, err := redistest.Find(); err != nil {
		fmt.Fprintf(out, "\nNOT MEASURED: how much Redis slows a warm call. %v\n", err)
		return nil
	}
	fmt.Fprintf(out, `
How much Redis slows the warm call. A broker with token_cache.redis is compared with
- a broker that keeps tokens in memory (goal: within 5%%);
- a broker that reads Redis on every call (goal: 2.5 times its calls), which is faster than
  a real one would be, because it runs without interceptors;
- the same broker while the redis-server is suspended by SIGSTOP (goal: p99 within 2 times).
  Each round lasts %s: at first Redis operations time out; then the broker considers Redis
  unreachable, and logs a warning. Redis is resumed before the next round.
The CPU time of the redis-server is not part of the servers' CPU time.
`, stoppedRounds*chosen.roundDuration)
	return with(ctx, roleRedis, task{}, func(redis redisServer) error {
		return with(ctx, roleBroker, task{Redis: redis.Address}, func(shared endpoint) error {
			if err := besideOthers(ctx, chosen, redis, shared, out); err != nil {
				return err
			}
			return besideStopped(ctx, chosen, redis, shared, out)
		})
	})
}

// besideOthers compares three brokers: one with tokens in Redis, one with tokens in memory only,
// and one that reads Redis on every call.
func besideOthers(ctx context.Context, chosen options, redis redisServer, shared endpoint, out io.Writer) error {
	return with(ctx, roleBroker, task{}, func(alone endpoint) error {
		return with(ctx, roleReading, task{Redis: redis.Address}, func(reading endpoint) error {
			sides := []side{{Name: "with Redis", At: shared}, {Name: "memory", At: alone}, {Name: "reads Redis", At: reading}}
			return compareRedis(ctx, chosen, sides, 1, out)
		})
	})
}

// besideStopped compares calls while Redis is suspended with calls while Redis answers.
func besideStopped(ctx context.Context, chosen options, redis redisServer, shared endpoint, out io.Writer) error {
	sides := []side{{Name: "Redis stopped", At: shared, Stopped: redis.Process}, {Name: "Redis well", At: shared}}
	return compareRedis(ctx, chosen, sides, stoppedRounds, out)
}

func compareRedis(ctx context.Context, chosen options, sides []side, longer int, out io.Writer) error {
	for _, callers := range []int{1, 64} {
		told := setting{callers: callers, connections: 1, credential: warmToken}.task(chosen)
		told.Sides = sides
		told.RoundDuration *= time.Duration(longer)
		err := with(ctx, roleLoad, told, func(measured result) error {
			if err := printTable(out, fmt.Sprintf("%s, %d callers", sides[0].Name, callers), sides, measured); err != nil || sides[0].Stopped == 0 {
				return err
			}
			return printStops(out, measured)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
