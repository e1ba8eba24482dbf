package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// The longest time that the broker may need to reach a resumed Redis again, and the time between
// two checks whether Redis is reachable.
const (
	recoveryPatience = 10 * time.Second
	recoveryPoll     = 20 * time.Millisecond
)

// stopProcess suspends a process with SIGSTOP. Connections to a suspended process stay open, but
// nothing answers on them.
func stopProcess(id int) error {
	if err := syscall.Kill(id, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("suspend the Redis process: %w", err)
	}
	return nil
}

// bringRedisBack resumes the Redis process, and waits until the broker uses Redis again.
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
