package redistest

import (
	"os/exec"
	"runtime"
	"strings"
	"sync"
)

// process is one run of redis-server.
type process struct {
	command *exec.Cmd
	output  *output
	// ended is closed once the process has ended and was waited for.
	ended chan struct{}
}

// startProcess starts the command. The process ends with the test binary, however that
// ends.
func startProcess(command *exec.Cmd, ready string) (*process, error) {
	p := &process{
		command: command,
		output:  &output{awaited: ready, ready: make(chan struct{})},
		ended:   make(chan struct{}),
	}
	command.Stdout, command.Stderr = p.output, p.output
	endWithParent(command)
	started := make(chan error)
	go func() {
		// The parent, to Linux, is the thread that started the process. So the thread
		// is kept for as long as the process runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // it ends by a signal, or says in its log why
			close(p.ended)
		}
	}()
	return p, <-started
}

// tailSize is how much of a log is kept, in bytes.
const tailSize = 8 << 10

// output is the log of a process, of which it keeps the end. It is safe for concurrent
// use.
type output struct {
	awaited string        // what a line holds once the process is ready
	ready   chan struct{} // closed at that line

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
