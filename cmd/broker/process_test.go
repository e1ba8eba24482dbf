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

// patience bounds the wait for what does happen unless the program is broken.
const patience = time.Minute

// process is a program in the background.
type process struct {
	command        *exec.Cmd
	stdout, stderr transcript
	ended          chan struct{} // closed when it has ended
}

// startProcess starts a program, with a folder and an environment if they are not empty.
func startProcess(folder string, environment []string, name string, args ...string) (*process, error) {
	command := exec.Command(name, args...) //nolint:noctx // the test ends it
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
		_ = p.command.Wait() // ProcessState says how it ended
	}()
	return p, nil
}

// wait waits for the end, and says how it ended: `exit 0`, or `signal terminated`.
func (p *process) wait() (how string, err error) {
	select {
	case <-p.ended:
	case <-time.After(patience):
		return "", errors.New("the process does not end")
	}
	if status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return "signal " + status.Signal().String(), nil
	}
	return fmt.Sprintf("exit %d", p.command.ProcessState.ExitCode()), nil
}

// kill ends the process without ado.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

// await waits until a pattern matches the whole lines of one of the streams, and returns
// the submatches.
func (p *process) await(stream *transcript, pattern *regexp.Regexp) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ended := false; ; {
		text, changed := stream.state()
		if match := pattern.FindStringSubmatch(text); match != nil {
			return match, nil
		}
		if ended {
			return nil, fmt.Errorf("the process has ended and not said %q", pattern)
		}
		select {
		case <-changed:
		case <-p.ended:
			ended = true // all that it said is there by now
		case <-ctx.Done():
			return nil, fmt.Errorf("the process does not say %q", pattern)
		}
	}
}

// transcript collects what a process writes. Its zero value is ready.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed at the next write
}

// Write implements io.Writer.
func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
	return t.text.Write(p)
}

// state returns the lines that are whole, and what is closed when there is more.
func (t *transcript) state() (lines string, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	text := t.text.String()
	return text[:strings.LastIndexByte(text, '\n')+1], t.changed
}

// String returns all of it.
func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
