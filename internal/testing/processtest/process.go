// Package processtest runs programs for tests.
package processtest

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Process is a program that runs, or ran.
type Process struct {
	command *exec.Cmd
	ended   chan struct{}
}

// Start starts a command. The process ends with the test binary, however that ends. (On
// Linux; elsewhere it outlives one that is killed.)
func Start(command *exec.Cmd) (*Process, error) {
	p := &Process{command: command, ended: make(chan struct{})}
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
			_ = command.Wait() // State says how it ended
			close(p.ended)
		}
	}()
	return p, <-started
}

// Ended returns what is closed once the process has ended, and all that it wrote is where
// the command sends it.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Runs reports whether the process has not ended. One that is stopped runs.
func (p *Process) Runs() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// State says how the process ended, once it has.
func (p *Process) State() *os.ProcessState { return p.command.ProcessState }

// Kill ends the process with SIGKILL, and waits for its end.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // it may have ended
	<-p.ended
}

// PID returns the ID of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(signal os.Signal) error { return p.command.Process.Signal(signal) }

// Stop stops the process with SIGSTOP, and waits until it stands still.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return awaitStopped(p.command.Process.Pid)
}

// Continue lets a stopped process go on.
func (p *Process) Continue() error { return p.Signal(syscall.SIGCONT) }
