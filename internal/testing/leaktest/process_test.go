package leaktest_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// patience is the longest time that tests wait for a condition.
const patience = time.Minute

type process struct {
	w              *world
	name           string
	command        *exec.Cmd
	stdout, stderr output
	ended          chan struct{}
}

type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.text.Bytes())
}

func (w *world) serve(name, config, format string) *process {
	w.Helper()
	w.write(config, w.configs[config])
	p := &process{w: w, name: name, ended: make(chan struct{})}
	p.command = exec.CommandContext(context.Background(), w.binary, "serve", "--config", w.path(config), "--log-level", "debug", "--log-format", format)
	p.command.Env, p.command.Dir = w.environment, w.folder
	p.command.Stdout, p.command.Stderr = &p.stdout, &p.stderr
	if err := p.command.Start(); err != nil {
		w.Fatal(err)
	}
	go func() { defer close(p.ended); _ = p.command.Wait() }()
	w.Cleanup(func() { _ = p.command.Process.Kill(); <-p.ended })
	return p
}

// await waits until the log contains n matches of a regular expression, and returns the groups of
// the last match.
func (p *process) await(n int, pattern string) []string {
	p.w.Helper()
	compiled, deadline := regexp.MustCompile(pattern), time.After(patience)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if found := p.matches(compiled); len(found) >= n {
			return found[len(found)-1]
		}
		select {
		case <-tick.C:
			continue
		case <-p.ended:
		case <-deadline:
		}
		said := p.stderr.Bytes()
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		if found := p.w.finder.Search("the log", said); len(found) > 0 {
			said = fmt.Append(nil, found)
		}
		p.w.Fatalf("the log of %s does not match %q %d times:\n%s", p.name, pattern, n, said)
	}
}

func (p *process) matches(pattern *regexp.Regexp) (found [][]string) {
	for _, groups := range pattern.FindAllSubmatch(p.stderr.Bytes(), -1) {
		var texts []string
		for _, group := range groups {
			texts = append(texts, string(group))
		}
		found = append(found, texts)
	}
	return found
}

func (p *process) count(pattern string) int { return len(p.matches(regexp.MustCompile(pattern))) }

func (p *process) signal(signal syscall.Signal) {
	p.w.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		p.w.Fatal(err)
	}
}

// `end` ends the process with a signal, and collects all its output.
func (p *process) end(signal syscall.Signal) {
	p.w.Helper()
	p.w.collectFile(p.name+": process arguments", fmt.Sprintf("/proc/%d/cmdline", p.command.Process.Pid))
	p.signal(signal)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.w.Fatalf("%s did not end after the signal", p.name)
	}
	p.w.collect(p.name+": standard output", p.stdout.Bytes())
	p.w.collect(p.name+": log", p.stderr.Bytes())
}

// run runs the broker's program until it ends, and collects its output.
func (w *world) run(where string, args ...string) (text string, code int) {
	w.Helper()
	command := exec.CommandContext(w.Context(), w.binary, args...)
	command.Env, command.Dir = w.environment, w.folder
	out, err := command.CombinedOutput()
	if command.ProcessState == nil {
		w.Fatal(err)
	}
	w.collect(where, out)
	return string(out), command.ProcessState.ExitCode()
}

// monitor collects all commands that a Redis server receives from now on.
func (w *world) monitor(address string) *output {
	w.Helper()
	connection, err := new(net.Dialer).DialContext(w.Context(), "tcp", address)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = connection.Close() })
	_, _ = connection.Write([]byte("AUTH redistest any\r\nMONITOR\r\n"))
	seen := new(output)
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := connection.Read(buffer)
			_, _ = seen.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	return seen
}
