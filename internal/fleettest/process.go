package fleettest

import (
	"bytes"
	"os/exec"
	"runtime"
	"sync"
)

// process is one run of a program.
type process struct {
	command *exec.Cmd
	ended   chan struct{} // closed once it has ended and was waited for
}

// startProcess starts the command. The process ends with the test binary, however that
// ends.
func startProcess(command *exec.Cmd) (*process, error) {
	p := &process{command: command, ended: make(chan struct{})}
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
			_ = command.Wait() // ProcessState says how it ended
			close(p.ended)
		}
	}()
	return p, <-started
}

// hasEnded says whether the process is no more.
func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
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

// state returns all of it, and what is closed when there is more.
func (t *transcript) state() (text string, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.text.String(), t.changed
}

// String returns all of it.
func (t *transcript) String() string {
	text, _ := t.state()
	return text
}
