package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestHangupWhileTheConfigurationIsRead sends SIGHUP before the broker serves, while it still
// reads a large configuration file.
func TestHangupWhileTheConfigurationIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broker.yaml")
	var text strings.Builder
	text.WriteString("listen: {grpc: '127.0.0.1:0', http: '127.0.0.1:0'}\ncredentials:\n")
	for i := range 5000 {
		fmt.Fprintf(&text, "- {id: c%d, provider: pendo, auth_method: api_key, values: {api_key: {value: canary}}}\n", i)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	opened := watchOpen(t, path)
	p, err := startProcess("", nil, "broker", "serve", "--config", path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	if _, err := opened.Read(make([]byte, 4096)); err != nil { // Read returns when the broker opens the file
		t.Fatal(err)
	}
	if err := p.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// The broker loads the configuration once when it starts, and again because of the signal.
	if _, err := p.await(&p.stderr, regexp.MustCompile(`(?s)msg="configuration loaded".*msg=serving .*msg="configuration loaded"`)); err != nil {
		t.Error(err)
	}
}

// watchOpen returns an inotify file that becomes readable when a process opens the path.
func watchOpen(t *testing.T, path string) *os.File {
	t.Helper()
	events, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(events), "inotify")
	t.Cleanup(func() { _ = file.Close() })
	if _, err := syscall.InotifyAddWatch(events, path, syscall.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return file
}
