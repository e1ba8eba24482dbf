package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is the maximum wait for an event; only a broken program makes a test wait so long.
const patience = time.Minute

type process struct {
	command        *exec.Cmd
	stdout, stderr transcript
	ended          chan struct{} // a channel that is closed when the process has ended
}

// startProcess starts a program. If the folder or the environment is empty, the program has the
// folder or environment of the test.
func startProcess(folder string, environment []string, name string, args ...string) (*process, error) {
	command := exec.Command(name, args...) //nolint:noctx // no context is needed, because the test itself ends the process
	command.Dir, command.Env = folder, environment
	return startCommand(command)
}

func startCommand(command *exec.Cmd) (*process, error) {
	p := &process{command: command, ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = &p.stdout, &p.stderr
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.command.Wait() // the error does not matter: the exit status is read from ProcessState
	}()
	return p, nil
}

// wait returns how the process ended, such as `exit 0` or `signal terminated`.
func (p *process) wait() (how string, err error) {
	select {
	case <-p.ended:
	case <-time.After(patience):
		return "", errors.New("the process has not ended")
	}
	if status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return "signal " + status.Signal().String(), nil
	}
	return fmt.Sprintf("exit %d", p.command.ProcessState.ExitCode()), nil
}

func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

// await waits until a complete line of the stream matches the pattern. await returns the texts that
// match the pattern and its groups.
func (p *process) await(stream *transcript, pattern *regexp.Regexp) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ended := false; ; {
		text, changed := stream.state()
		if match := pattern.FindStringSubmatch(text); match != nil {
			return match, nil
		}
		if ended {
			return nil, fmt.Errorf("the process has ended without printing %q", pattern)
		}
		select {
		case <-changed:
		case <-p.ended:
			ended = true // from now on, the output is complete
		case <-ctx.Done():
			return nil, fmt.Errorf("the process has not printed %q", pattern)
		}
	}
}

// transcript collects the output of a process. The zero value of transcript is ready to use.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // a channel that is closed at the next write
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
	return t.text.Write(p)
}

// state returns the complete lines written so far, and a channel that is closed at the next
// write.
func (t *transcript) state() (lines string, changed <-chan struct{}) {
	changed = t.next()
	text := t.String()
	return text[:strings.LastIndexByte(text, '\n')+1], changed
}

// next returns a channel that is closed at the next write.
func (t *transcript) next() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
