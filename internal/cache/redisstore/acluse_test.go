package redisstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// aclPatience limits the duration of one test run with a Store. The limit is long because a client
// of a Sentinel sends one of its commands only every 3 seconds.
const aclPatience = 20 * time.Second

type troubles struct{ end context.CancelCauseFunc }

func (t troubles) Operated(operation, result string, _ time.Duration) {
	if result != "ok" && result != "gave_up" && result != "starved" { // the Store repeats a starved operation
		t.end(fmt.Errorf("%s: %s", operation, result))
	}
}
func (troubles) Unreadable(string) {}
func (troubles) Degraded(bool)     {}

// openPair opens the Stores of two replicas. The returned context ends when an operation of either
// Store fails.
func openPair(t *testing.T, server redisstore.Server) (ctx context.Context, one, other *redisstore.Store, closePair func()) {
	t.Helper()
	limited, cancel := context.WithTimeout(t.Context(), aclPatience)
	ctx, end := context.WithCancelCause(limited)
	options := redisstore.Options{
		Server: server, Keys: fleetkeys.RandomRing(), Observer: troubles{end}, Logger: slog.New(slog.DiscardHandler),
	}
	one, other = redisstore.New(options), redisstore.New(options)
	return ctx, one, other, func() {
		cancel()
		one.Close()
		other.Close()
	}
}

// useEverything calls every operation of two replicas' Stores, and returns the first failure. With
// an admin client, useEverything then replaces every key in Redis by one of a type that no broker
// writes, and calls every operation again.
func useEverything(t *testing.T, server redisstore.Server, admin *redis.Client) error {
	t.Helper()
	ctx, one, other, closePair := openPair(t, server)
	defer closePair()
	err := use(ctx, one, other)
	if admin != nil && err == nil {
		err = errors.Join(spoil(ctx, admin), use(ctx, one, other))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// use makes one replica store tokens and failures while the other follows the stream.
func use(ctx context.Context, one, other *redisstore.Store) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	follows, changed, looks := make(chan struct{}, 100), make(chan struct{}, 100), make(chan struct{}, 1000)
	go other.Follow(following, cache.News{
		Changed: func(string) { changed <- struct{}{} }, Forgotten: func() {}, Missed: func() { follows <- struct{}{} },
	})
	await := func(told <-chan struct{}) {
		select {
		case <-told:
		case <-ctx.Done():
		}
	}
	await(follows)
	anyway := func(cache.Record) bool { return false }
	_, lease, err := one.Lock(ctx, "a", anyway)
	if err != nil {
		return err
	}
	adopted := make(chan error, 1)
	go func() {
		_, _, err := other.Lock(ctx, "a", func(record cache.Record) bool {
			looks <- struct{}{}
			return record.Token != nil
		})
		adopted <- err
	}()
	await(looks)
	await(looks) // after the second read of the record, Lock waits for the lease
	_, err = lease.Commit(ctx, shortToken("first"), false)
	await(changed)
	err = errors.Join(err, <-adopted)
	lease.Release()
	_, lease, failed := one.Lock(ctx, "a", anyway)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	_, err = lease.Commit(ctx, shortToken("second"), true)
	_, failed = lease.ForcedWait(ctx, 1, time.Minute)
	err = errors.Join(err, failed, lease.Fail(ctx, &cache.Failure{
		Fault: fault.New(fault.ProviderUnavailable, "unavailable"), Until: time.Now().Add(time.Minute),
	}))
	lease.Release()
	failed = one.Announce(ctx, replicaNamed("a"))
	_, unread := one.Replicas(ctx)
	err = errors.Join(err, failed, unread)
	failed = one.UpdateUsage(ctx, []string{"a"}, func(string, []json.RawMessage) json.RawMessage { return json.RawMessage(`1`) })
	_, unread = one.Usage(ctx, "a")
	return errors.Join(err, failed, unread, one.ForgetFailures(ctx))
}

func shortToken(value string) *token.Token {
	return &token.Token{Value: secret.New(value), RequestedAt: time.Now(), Lifetime: time.Minute}
}

// spoil replaces every key by one of a type that no broker writes.
func spoil(ctx context.Context, admin *redis.Client) error {
	keys, err := admin.Keys(ctx, "*").Result()
	for _, key := range keys {
		err = errors.Join(err, admin.Del(ctx, key).Err(), admin.HSet(ctx, key, "field", "value").Err())
	}
	return err
}

// useSentinels opens a Store that finds Redis through Sentinels. It returns when a Sentinel has
// denied a command, or has received PING, which a client sends last.
func useSentinels(t *testing.T, server redisstore.Server, all guarded) error {
	t.Helper()
	ctx, one, _, closePair := openPair(t, server)
	defer closePair()
	_, _ = one.Load(ctx, "a") // a failure ends the context
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if len(all.denied(t)) > 0 {
			return context.Cause(ctx)
		}
		for _, admin := range all.admins {
			clients, failed := admin.ClientList(t.Context()).Result()
			if failed != nil {
				return failed
			}
			for client := range strings.Lines(clients) {
				if strings.Contains(client, " user="+aclUser+" ") && strings.Contains(client, " cmd=ping ") {
					return context.Cause(ctx)
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
