package redistest

import (
	"os/exec"
	"strings"
	"sync"

	"github.com/authmaterial/broker/internal/testing/processtest"
)

type process struct {
	*processtest.Process

	output *output
}

// startProcess starts the command. The process is ready when a line of its log contains the text in
// `ready`.
func startProcess(command *exec.Cmd, ready string) (process, error) {
	output := &output{awaited: ready, ready: make(chan struct{})}
	command.Stdout, command.Stderr = output, output
	started, err := processtest.Start(command)
	return process{started, output}, err
}

const tailSize = 8 << 10

// output keeps the end of a process's log, up to tailSize bytes. An output is safe for concurrent
// use.
type output struct {
	awaited string        // text in the log line that shows that the process is ready
	ready   chan struct{} // closed when the log contains the awaited text

	mu   sync.Mutex
	tail string
	seen bool
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail += string(p)
	if !o.seen && strings.Contains(o.tail, o.awaited) {
		o.seen = true
		close(o.ready)
	}
	o.tail = o.tail[max(0, len(o.tail)-tailSize):]
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tail
}
