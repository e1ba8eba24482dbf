package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/authmaterial/broker/internal/server"
)

const (
	// stopPeriod bounds how long the process takes to stop. It is more than the sum of what
	// the server and the traces allow each of their parts.
	stopPeriod = 20 * time.Second
	// logPeriod bounds the wait for the last log line after that.
	logPeriod = time.Second
)

// untilSignal returns a context that ends with the first SIGTERM or SIGINT. From then on both
// signals end the process at once, and the process exits with code 1 if it still runs after
// stopPeriod: something hangs, such as a log that nobody reads. The caller calls stop when it
// needs no signals any more.
func untilSignal(parent context.Context, logger *slog.Logger) (ctx context.Context, stop func()) {
	ctx, cancel := signal.NotifyContext(parent, syscall.SIGTERM, os.Interrupt)
	keep := context.AfterFunc(ctx, func() {
		cancel()
		time.AfterFunc(stopPeriod, func() {
			time.AfterFunc(logPeriod, func() { os.Exit(exitProblem) })
			logger.Error("stopping takes too long: the process ends")
			os.Exit(exitProblem)
		})
		logger.Info("stopping")
	})
	return ctx, func() {
		keep()
		cancel()
	}
}

// onHangup reopens the audit file and retries rejected credentials at each hangup until ctx
// ends. Then it passes the hangup on, for the configuration to be read again.
func onHangup(ctx context.Context, hangups <-chan os.Signal, broker *server.Server, logger *slog.Logger) <-chan struct{} {
	passed := make(chan struct{})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			broker.ReopenAudit()
			if err := broker.ForgetFailures(ctx); err != nil {
				logger.Error("rejected credentials are not retried: the token cache failed", "type", fmt.Sprintf("%T", err))
			}
			select {
			case <-ctx.Done():
			case passed <- struct{}{}:
			}
		}
	}()
	return passed
}
