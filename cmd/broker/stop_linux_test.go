package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// TestStopWhileTheAuditHangs ends a broker while calls without deadlines wait for a pipe that
// nobody reads.
func TestStopWhileTheAuditHangs(t *testing.T) {
	folder := t.TempDir()
	pipe, path := filepath.Join(folder, "audit"), filepath.Join(folder, "broker.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	const smallest = 4096 // bytes, which is about twenty lines
	if _, err := unix.FcntlInt(reader.Fd(), unix.F_SETPIPE_SZ, smallest); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("listen: {grpc: '127.0.0.1:0', http: '127.0.0.1:0'}\naudit: {file: %s}\n"+
		"credentials: [{id: k, provider: pendo, auth_method: api_key, values: {api_key: {value: k}}}]\n", pipe)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("", nil, "broker", "serve", "--config", path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	serving, err := p.await(&p.stderr, regexp.MustCompile(`msg=serving .*grpc=(\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	fillAudit(t, serving[1])
	began := time.Now()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	how, err := p.wait()
	if took := time.Since(began); err != nil || how != "exit 0" || took > 20*time.Second {
		t.Errorf("the broker ends with %q (%v) after %v, want exit 0 in the 10 seconds that calls have and a few more", how, err, took)
	}
}

// fillAudit makes calls without deadlines, and returns when the first of them has failed for
// want of its record. Others wait.
func fillAudit(t *testing.T, address string) {
	t.Helper()
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	const callers = 8
	failed := make(chan struct{}, callers)
	for range callers {
		go func() {
			for {
				_, err := authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(context.Background(),
					&authmaterialv1.GetAuthDecorationRequest{CredentialId: "k"})
				if err != nil {
					failed <- struct{}{}
					break
				}
			}
			// They go on hanging until the broker is gone.
			_, _ = authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(context.Background(),
				&authmaterialv1.GetAuthDecorationRequest{CredentialId: "k"})
		}()
	}
	select {
	case <-failed:
	case <-time.After(patience):
		t.Fatal("every call is answered, although nobody reads the audit")
	}
}
