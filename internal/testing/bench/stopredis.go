package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// How long Redis may take to be reachable for the broker again, and how often that is checked.
const (
	recoveryPatience = 10 * time.Second
	recoveryPoll     = 20 * time.Millisecond
)

// stopProcess suspends a process with SIGSTOP: connections to it stay open, and are never
// answered.
func stopProcess(id int) error {
	if err := syscall.Kill(id, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop the Redis process: %w", err)
	}
	return nil
}

// bringRedisBack resumes the Redis process, and waits until the server shares tokens again.
func (t *target) bringRedisBack(ctx context.Context) error {
	if err := syscall.Kill(t.stopped, syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue the Redis process: %w", err)
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
			return errors.Join(fmt.Errorf("the server %q is without Redis %s after that went on", t.name, recoveryPatience), err)
		}
	}
}
