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
	// stopPeriod limits how long the process takes to stop. stopPeriod is longer than the time
	// limits of the server and of the trace exporter together.
	stopPeriod = 20 * time.Second
	// logPeriod limits the additional time, after stopPeriod, in which the process tries to
	// write its last log line.
	logPeriod = time.Second
)

// untilSignal returns a context that ends with the first SIGTERM or SIGINT. A second SIGTERM or
// SIGINT ends the process at once. After the first signal, the process exits with code 1 if it
// still runs after stopPeriod, because something blocks it, such as a log pipe that no process
// reads. The caller of untilSignal calls the returned function `stop` when the caller no longer
// needs signals.
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

// limitMemory sets the soft memory limit. When the process uses more memory than the soft limit,
// Go collects garbage more often. Frequent collection keeps garbage from doubling the memory
// that hostile clients make the broker use. The soft limit is the sum of two parts: 40 MiB,
// which clients may use, and 4 times the memory in use now, which tokens and reloads may use.
// Call limitMemory after each load of the configuration. limitMemory does not change a limit
// that the operator set with GOMEMLIMIT.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	runtime.GC() // garbage collection updates the runtime metric that is read below
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetMemoryLimit(40<<20 + 4*int64(live[0].Value.Uint64())) //nolint:gosec // no heap is larger than the largest int64
}

// forbidCoreDumps prevents core dumps of this process, because its memory contains secrets. If
// forbidCoreDumps fails, it logs a warning.
func forbidCoreDumps(logger *slog.Logger) {
	err := errors.Join(syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}), makeUndumpable())
	if err != nil {
		logger.Warn("a core dump of this process, with its secrets, is possible", "error", err)
	}
}
