package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestNoCoreDumps raises the limit for core files, which the broker must lower again. If root
// runs the test, the broker runs as the user nobody, because wantNoCoreDump proves nothing about
// processes of root.
func TestNoCoreDumps(t *testing.T) {
	allowCoreDumps(t)
	folder := publicFolder(t)
	program := filepath.Join(folder, freePorts)
	copyProgram(t, program)
	write(t, filepath.Join(folder, "broker.yaml"), `listen: {grpc: "127.0.0.1:0", http: "127.0.0.1:0"}`)
	for name, test := range map[string]struct {
		args []string
		line string // the text that the process prints when it is ready
	}{
		"serve":       {[]string{"serve", "--config", "broker.yaml"}, "msg=serving "},
		"demo --stay": {[]string{"demo", "--stay"}, "Ctrl-C stops"},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.Command(program, test.args...) //nolint:noctx // no context is needed, because the test itself ends the process
			command.Dir = folder
			if os.Geteuid() == 0 {
				command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			p, err := startCommand(command)
			if err != nil {
				t.Fatal(err)
			}
			defer p.kill()
			stream := &p.stderr
			if name != "serve" {
				stream = &p.stdout
			}
			_, err = p.await(stream, regexp.MustCompile(test.line))
			if err != nil {
				t.Fatalf("%v\n%s", err, p.stderr.String())
			}
			wantNoCoreDump(t, command.Process.Pid)
			if strings.Contains(p.stderr.String(), "core dump") {
				t.Error("the broker warns about core dumps")
			}
		})
	}
}

// wantNoCoreDump checks that the process's limit for core files is 0, and that the process is
// undumpable, which means that root owns the process's files in /proc.
func wantNoCoreDump(t *testing.T, pid int) {
	t.Helper()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Max core file size +0 +0 +bytes`).Match(limits) {
		t.Errorf("the limit for core files is not 0:\n%s", limits)
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
		t.Errorf("the process can be dumped: its environment belongs to user %d", owner)
	}
}

// allowCoreDumps raises the limit for core files as far as possible. Child processes inherit the
// limit.
func allowCoreDumps(t *testing.T) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	higher := syscall.Rlimit{Cur: before.Max, Max: before.Max}
	if before.Max == 0 && os.Geteuid() == 0 {
		higher = syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &higher); err != nil {
		t.Logf("the limit cannot be raised, so the test only checks that the process is undumpable: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &before) })
}

// publicFolder returns a folder that every user can read.
func publicFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "broker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// copyProgram copies the test program to a path where every user can run it.
func copyProgram(t *testing.T, path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
