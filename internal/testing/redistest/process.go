package redistest

import (
	"os/exec"
	"strings"
	"sync"

	"github.com/authmaterial/broker/internal/testing/processtest"
)

// process is a running redis-server process.
type process struct {
	*processtest.Process

	output *output
}

// startProcess starts the command. The process is ready when a line of its log contains the
// text.
func startProcess(command *exec.Cmd, ready string) (process, error) {
	output := &output{awaited: ready, ready: make(chan struct{})}
	command.Stdout, command.Stderr = output, output
	started, err := processtest.Start(command)
	return process{started, output}, err
}

// tailSize is the number of bytes at the end of a log that are kept.
const tailSize = 8 << 10

// output is a writer that keeps the end of a process's log. An output is safe for concurrent
// use.
type output struct {
	awaited string        // text in the line that shows that the process is ready
	ready   chan struct{} // closed when the log contains that line

	mu   sync.Mutex
	tail string
	seen bool
}

// Write implements io.Writer.
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

// String returns the end of the log.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tail
}
