package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Kill ends the server's main process with SIGKILL, and waits until all processes of the server
// have ended.
func (s *Server) Kill() {
	children := s.children()
	s.process.Kill()
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGKILL) // the process may have ended already
	}
	for len(s.running(children)) > 0 {
		<-time.After(time.Millisecond) // this program cannot wait for the end of processes that are not its children
	}
}

// shutDown tells the server to end, and waits until it has ended. Before the server ends, it ends
// its other processes.
func (s *Server) shutDown() {
	if s.process == nil || !s.process.Runs() {
		return
	}
	_ = errors.Join(s.process.Signal(syscall.SIGQUIT), s.process.Continue()) // the process may have ended already
	select {
	case <-s.process.Ended():
	case <-time.After(startLimit):
		s.Kill()
	}
}

// Restart kills the server if it is running, and starts it again on the same port with the same
// data. When Restart returns, the server accepts connections.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

// Stop suspends all processes of the server with SIGSTOP. A suspended server accepts connections
// but does not answer. Only Linux supports Stop.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.process.Stop(); err != nil {
		s.t.Fatalf("suspend the server: %v", err)
	}
	if err := signal(s.children(), syscall.SIGSTOP); err != nil {
		s.t.Fatalf("suspend the server: %v", err)
	}
}

// Continue resumes a suspended server.
func (s *Server) Continue() {
	s.t.Helper()
	if err := errors.Join(s.process.Continue(), signal(s.children(), syscall.SIGCONT)); err != nil {
		s.t.Fatalf("resume the server: %v", err)
	}
}

func signal(processes []int, signal syscall.Signal) error {
	for _, process := range processes {
		if err := syscall.Kill(process, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// children returns the processes that the main process has started.
func (s *Server) children() (all []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is valid
	for _, path := range paths {
		if process, parent, _ := status(path); parent == s.process.PID() {
			all = append(all, process)
		}
	}
	return all
}

// running returns the given processes without those that have ended.
func (s *Server) running(processes []int) (all []int) {
	for _, process := range processes {
		if _, _, state := status(fmt.Sprintf("/proc/%d/stat", process)); state != "" && state != "Z" {
			all = append(all, process)
		}
	}
	return all
}

// status reads the file "stat" of a process. For a process that does not exist, the state is empty.
func status(path string) (process, parent int, state string) {
	data, err := os.ReadFile(path)
	end := strings.LastIndexByte(string(data), ')') // the name of the program may contain spaces
	if err != nil || end < 0 {
		return 0, 0, ""
	}
	fields := strings.Fields(string(data[end+1:]))
	process, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
	parent, _ = strconv.Atoi(fields[1])
	return process, parent, fields[0]
}
