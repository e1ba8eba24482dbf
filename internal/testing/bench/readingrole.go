package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/rpc"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// serveReading runs a broker that reads the token from Redis on every call, without metrics or a
// log of calls.
func serveReading(ctx context.Context, told task, answer func(any) error) error {
	sim, err := simulator.New()
	if err != nil {
		return err
	}
	defer sim.Close() //nolint:errcheck // an error of Close does not matter, because the process ends
	loaded, err := loader(told, sim)("")()
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store := redisstore.New(redisstore.Options{
		Server: redisstore.Server{Addresses: loaded.TokenCache.Redis.Addresses},
		Keys:   loaded.TokenCache.FleetKeys,
		Logger: logger,
	})
	defer store.Close()
	tokens := cache.New(cache.Options{Store: store, Logger: logger})
	defer tokens.Close()
	nobody := authentication.Method{Name: authentication.MethodNone, Authenticator: authentication.Local{}, Counts: authentication.Counts{OK: uncounted{}}}
	callers := authentication.NewSet(nil, uncounted{}, nobody)
	reading, err := broker.New(broker.Load{Config: loaded, Callers: callers}, broker.Options{
		Tokens:      readingTokens{Cache: tokens, store: store},
		TokenClient: strategies.NewTokenClient(strategies.TokenClientOptions{Transport: sim.Transport()}),
		VersionKeys: loaded.TokenCache.FleetKeys.VersionKeys(),
		Clock:       clockwork.NewRealClock(),
		Logger:      logger,
		Encode:      rpc.Encode,
	})
	if err != nil {
		return err
	}
	defer reading.Close()
	grpcServer := grpc.NewServer(append(server.TransportOptions(), grpc.ForceServerCodecV2(rpc.NewCodec()))...)
	rpc.NewService(rpc.Options{
		Broker:    reading,
		Admission: admission.New(config.Limits{Connections: 1000, ConnectionsPerCaller: 1000, ConcurrentCalls: 10_000, WatchesPerCaller: 1, CallsPerSecond: 1, CallBurst: 1}, func(admission.Limit, string) {}),
		Clock:     clockwork.NewRealClock(), Waiting: clockwork.NewRealClock(),
		Logger:  logger,
		Metrics: unmeasured,
		Ended:   func(context.Context, rpc.Ended) {},
		Reached: func(admission.Limit) {},
	}).Register(grpcServer)
	return serve(ctx, grpcServer, answer)
}

type uncounted struct{}

func (uncounted) Inc() {}

func (uncounted) Observe(float64) {}

func unmeasured(string, bool) *rpc.MethodMetrics {
	made := &rpc.MethodMetrics{Started: uncounted{}, Received: uncounted{}, Sent: uncounted{}, Seconds: uncounted{}}
	for code := range made.Handled {
		made.Handled[code] = uncounted{}
	}
	return made
}

// readingTokens reads each token from Redis on every call.
type readingTokens struct {
	*cache.Cache
	store cache.Store
}

// WarmAt returns the token in Redis.
func (r readingTokens) WarmAt(tokenKey string, _ time.Time) (*token.Token, bool) {
	record, err := r.store.Load(context.Background(), tokenKey)
	return record.Token, err == nil && record.Token != nil
}

// Token makes the first token request, when Redis contains no token. Token waits while Redis does
// not answer, because a call that returned a token from memory would not measure Redis.
func (r readingTokens) Token(ctx context.Context, source cache.Source) (*token.Token, error) {
	ticker := time.NewTicker(recoveryPoll)
	defer ticker.Stop()
	for {
		record, err := r.store.Load(ctx, source.TokenKey())
		switch {
		case err == nil && record.Token != nil:
			return record.Token, nil
		case err == nil:
			return r.Cache.Token(ctx, source)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
