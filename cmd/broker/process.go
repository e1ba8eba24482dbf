package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"
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
	unregister := context.AfterFunc(ctx, func() {
		cancel()
		time.AfterFunc(stopPeriod, func() {
			time.AfterFunc(logPeriod, func() { os.Exit(exitProblem) })
			logger.Error("stopping takes too long: the process ends")
			os.Exit(exitProblem)
		})
		logger.Info("stopping")
	})
	return ctx, func() {
		unregister()
		cancel()
	}
}

// limitMemory sets the soft memory limit, above which garbage is collected more often: garbage
// must not double what hostile clients make the broker keep. The limit is 40 MiB, for clients,
// plus 4 times the memory in use, for tokens and reloads. Call it after each load of the
// configuration. If the operator set GOMEMLIMIT, that limit stays.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	runtime.GC() // so that the metric is current
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetMemoryLimit(40<<20 + 4*int64(live[0].Value.Uint64())) //nolint:gosec // no heap is that large
}

// forbidCoreDumps prevents core dumps of this process: its memory holds secrets. It logs a
// warning if it fails.
func forbidCoreDumps(logger *slog.Logger) {
	err := errors.Join(syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}), makeUndumpable())
	if err != nil {
		logger.Warn("a core dump of this process, with its secrets, is possible", "error", err)
	}
}
