package main

import (
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

// TestHangupWhileTheConfigurationIsRead sends SIGHUP before the broker serves.
func TestHangupWhileTheConfigurationIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broker.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("", nil, "broker", "serve", "--config", path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	file, err := os.OpenFile(path, os.O_WRONLY, 0) // waits until the broker reads
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("listen: {grpc: '127.0.0.1:0', http: '127.0.0.1:0'}\ncredentials: []\n"); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.await(&p.stderr, regexp.MustCompile(`msg=serving `)); err != nil {
		t.Error(err)
	}
}
