package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// The broker may take recoveryPatience to reach a resumed Redis again.
const (
	recoveryPatience = 10 * time.Second
	recoveryPoll     = 20 * time.Millisecond
)

// stopProcess suspends a process. Connections to a suspended process stay open, but the process
// does not answer.
func stopProcess(id int) error {
	if err := syscall.Kill(id, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("suspend the Redis process: %w", err)
	}
	return nil
}

// bringRedisBack resumes Redis, and waits until the broker uses it again.
func (t *target) bringRedisBack(ctx context.Context) error {
	if err := syscall.Kill(t.stopped, syscall.SIGCONT); err != nil {
		return fmt.Errorf("resume the Redis process: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, recoveryPatience)
	defer cancel()
	ticker := time.NewTicker(recoveryPoll)
	defer ticker.Stop()
	for {
		now, err := readUsage(ctx, t.http, t.metrics)
		if err == nil && now.degraded == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the server %q does not use Redis %s after Redis was resumed", t.name, recoveryPatience), err)
		}
	}
}
