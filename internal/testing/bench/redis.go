package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/authmaterial/broker/internal/testing/redistest"
)

// Rounds with a suspended Redis are longer than others by this factor. With the default duration
// such a round begins before the broker considers Redis unreachable, and ends some time after that.
const stoppedRounds = 8

// measureRedis prints how much Redis slows the warm call, or that redis-server is not installed.
func measureRedis(ctx context.Context, chosen options, out io.Writer) error {
	if _, err := redistest.Find(); err != nil {
		fmt.Fprintf(out, "\nNOT MEASURED: how much Redis slows a warm call. %v\n", err)
		return nil
	}
	fmt.Fprintf(out, `
What Redis costs the warm call: a broker with token_cache.redis beside
- one that keeps tokens in memory (goal: within 5%%);
- one that reads Redis on every call (goal: 2.5 times its calls). That one is favoured: it
  is the broker's own code without interceptors;
- itself while the redis-server is stopped by SIGSTOP (goal: p99 within 2 times). Each
  round lasts %s: at first what is asked of Redis times out; then Redis counts as out of
  reach, of which the broker warns. Redis is back before the next round.
The redis-server's own processor time is not in the servers'.
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

// besideOthers compares brokers with Redis, without Redis, and with a read from Redis on every
// call.
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

// compareRedis compares the sides with 1 caller and with 64 callers.
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
