// Package processtest runs programs for tests.
package processtest

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Process is a program that was started and may have ended.
type Process struct {
	command *exec.Cmd
	ended   chan struct{}
}

// Start starts a command. On Linux the process is killed when the test binary ends, even if the
// test binary is killed. On other systems the process continues if the test binary is killed.
func Start(command *exec.Cmd) (*Process, error) {
	p := &Process{command: command, ended: make(chan struct{})}
	endWithParent(command)
	started := make(chan error)
	go func() {
		// Linux considers the thread that started a process its parent, so the goroutine keeps its
		// thread while the process runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // the method State returns the result of Wait
			close(p.ended)
		}
	}()
	return p, <-started
}

// Ended returns a channel that is closed when the process has ended and all its output has been
// written.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Runs reports whether the process has not ended yet. A process that runs may be suspended.
func (p *Process) Runs() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// State returns the exit state of the process, or nil while the process runs.
func (p *Process) State() *os.ProcessState { return p.command.ProcessState }

// Kill ends the process with SIGKILL, and waits until it has ended.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // the process may have ended already
	<-p.ended
}

// PID returns the ID of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// Signal sends a signal to the process.
func (p *Process) Signal(signal os.Signal) error { return p.command.Process.Signal(signal) }

// Stop suspends the process with SIGSTOP, and waits until it is suspended.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return awaitStopped(p.command.Process.Pid)
}

// Continue resumes a suspended process.
func (p *Process) Continue() error { return p.Signal(syscall.SIGCONT) }
