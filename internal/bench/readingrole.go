package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/rpc"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// streamWorkers is how many goroutines wait for calls in the broker's server.
const streamWorkers = 32

// serveReading runs a broker that reads Redis on every call. Its server has the stream
// workers of the broker's, and none of its interceptors.
func serveReading(ctx context.Context, told task, answer func(any) error) error {
	sim, err := simulator.New()
	if err != nil {
		return err
	}
	defer sim.Close() //nolint:errcheck // the process ends
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
	reading, err := broker.New(loaded.Credentials, loaded.Policy, broker.Options{
		Tokens:      readingTokens{Cache: tokens, store: store},
		TokenClient: strategies.NewTokenClient(strategies.TokenClientOptions{Transport: sim.Transport()}),
		VersionKeys: loaded.TokenCache.FleetKeys.VersionKeys(),
		Clock:       clockwork.NewRealClock(),
		Logger:      logger,
	})
	if err != nil {
		return err
	}
	defer reading.Close()
	grpcServer := grpc.NewServer(grpc.NumStreamWorkers(streamWorkers))
	authmaterialv1.RegisterBrokerServiceServer(grpcServer, rpc.NewService(reading, clockwork.NewRealClock(), logger))
	return serve(ctx, grpcServer, answer)
}

// readingTokens are a Cache whose tokens are read from Redis each time.
type readingTokens struct {
	*cache.Cache
	store cache.Store
}

// Warm returns the token that Redis has.
func (r readingTokens) Warm(source cache.Source) (*token.Token, bool) {
	record, err := r.store.Load(context.Background(), source.TokenKey())
	return record.Token, err == nil && record.Token != nil
}

// Token is for a call to which Redis gave no token. It makes the first token request.
// While Redis does not answer, it waits: a token from memory would be no reading.
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
