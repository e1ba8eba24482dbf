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
	// stopPeriod is the maximum time that the process takes to stop. stopPeriod is longer than the
	// time limits of the server and of the trace exporter together.
	stopPeriod = 20 * time.Second
	// logPeriod is the maximum time, after stopPeriod, for writing the last log line.
	logPeriod = time.Second
)

// untilSignal returns a context that ends with the first SIGTERM or SIGINT; a second signal ends
// the process at once. If something still blocks the process after stopPeriod, such as a log pipe
// that no process reads, the process exits with code 1. The caller must call the returned
// function when it no longer needs signals.
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

// limitMemory sets a soft memory limit. Above the limit, Go collects garbage more often, so that
// garbage does not double the memory that hostile clients make the broker use. The limit is 40 MiB
// for clients, plus 4 times the memory that is in use now, for tokens and reloads. Call limitMemory
// after each load of the configuration. limitMemory does not change a limit that the operator set
// with GOMEMLIMIT.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	runtime.GC() // a garbage collection updates the metric that is read below
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetMemoryLimit(40<<20 + 4*int64(live[0].Value.Uint64())) //nolint:gosec // no heap is larger than the largest int64
}

// forbidCoreDumps prevents core dumps of this process, because its memory contains secrets, or
// logs a warning if it cannot.
func forbidCoreDumps(logger *slog.Logger) {
	err := errors.Join(syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}), makeUndumpable())
	if err != nil {
		logger.Warn("a core dump of this process, with its secrets, is possible", "error", err)
	}
}
