package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	// stopPeriod is how long the process may take to stop. What the server and the traces
	// give each of their parts is less than that, in sum.
	stopPeriod = 20 * time.Second
	// lastWord is how long it waits for the log when it has taken longer.
	lastWord = time.Second
)

// untilSignal returns a context that ends with the first SIGTERM or SIGINT. A second one
// then ends the process as it would without the broker's doing. A process that still runs
// 20 seconds after the first ends with exit code 1: something hangs, such as a log that
// nobody reads.
func untilSignal(ctx context.Context, logger *slog.Logger) context.Context {
	ctx, stop := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		defer stop()
		select {
		case <-signals:
			signal.Stop(signals)
			time.AfterFunc(stopPeriod, func() { endHanging(logger) })
			stop() // before the log, which may hang
			logger.Info("stopping")
		case <-ctx.Done():
			signal.Stop(signals)
		}
	}()
	return ctx
}

// endHanging ends the process. It says so, if that can be said.
func endHanging(logger *slog.Logger) {
	time.AfterFunc(lastWord, func() { os.Exit(exitProblem) })
	logger.Error("stopping takes too long: the process ends")
	os.Exit(exitProblem)
}
