package main

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"
)

// forbidCoreDumps prevents core dumps of this process: its memory holds secrets. It logs a
// warning if it fails.
func forbidCoreDumps(logger *slog.Logger) {
	err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	if err != nil {
		err = fmt.Errorf("set the limit: %w", err)
	}
	if err = errors.Join(err, makeUndumpable()); err != nil {
		logger.Warn("a core dump of this process, with its secrets, is possible", "error", err)
	}
}
