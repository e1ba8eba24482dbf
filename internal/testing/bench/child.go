package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// stopPatience is how long a process may take to end before it is killed.
const stopPatience = 10 * time.Second

// The function `with` starts a process that does the work of a role, and passes the answer of the
// process to `use`. When `use` returns, `with` ends the process.
func with[T any](ctx context.Context, role string, told task, use func(answer T) error) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	command, stdin, stdout, err := start(ctx, role)
	if err != nil {
		return fmt.Errorf("start the %s process: %w", role, err)
	}
	defer func() {
		stop()
		if ended := command.Wait(); ended != nil && !errors.Is(ended, context.Canceled) {
			err = errors.Join(fmt.Errorf("run the %s process: %w", role, ended), err)
		}
	}()
	if err := json.NewEncoder(stdin).Encode(told); err != nil {
		return fmt.Errorf("send the task to the %s process: %w", role, err)
	}
	var answer T
	if err := json.NewDecoder(stdout).Decode(&answer); err != nil {
		return fmt.Errorf("read the answer of the %s process: %w", role, err)
	}
	return use(answer)
}

// start starts this program again, to do the work of a role. When ctx ends, the standard input of
// the process is closed, which tells it to end. A process that still runs after stopPatience is
// killed.
func start(ctx context.Context, role string) (command *exec.Cmd, stdin io.Writer, stdout io.Reader, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	command = exec.CommandContext(ctx, program, role) //nolint:gosec // the program starts itself
	command.Stderr = os.Stderr
	lifeline, err := command.StdinPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	stdout, err = command.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	command.Cancel, command.WaitDelay = lifeline.Close, stopPatience
	return command, lifeline, stdout, command.Start()
}
