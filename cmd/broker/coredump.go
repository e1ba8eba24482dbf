package main

import (
	"fmt"
	"log/slog"
	"syscall"
)

// withoutCoreDumps has no file be made of this process's memory, which holds secrets. Where
// it fails, the log says so.
func withoutCoreDumps(logger *slog.Logger) {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		logger.Warn("a core dump of this process, with its secrets, is possible", "error", fmt.Sprintf("set the limit: %v", err))
	}
	if err := forbidDumps(); err != nil {
		logger.Warn("a core dump of this process, with its secrets, is possible", "error", err)
	}
}
