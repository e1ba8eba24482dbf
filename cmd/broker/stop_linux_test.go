package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// TestStopWhileTheAuditHangs stops a broker while calls without deadlines wait for the audit log,
// which is a pipe that no process reads.
func TestStopWhileTheAuditHangs(t *testing.T) {
	t.Parallel() // the test takes several seconds
	folder := t.TempDir()
	pipe, _ := smallPipe(t, folder)
	path := filepath.Join(folder, "broker.yaml")
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
		t.Errorf("the broker ends with %q (%v) after %v, want exit 0 after at most 20 seconds, of which 10 seconds are for calls", how, err, took)
	}
}

// TestStopWhileTheLogHangs stops a broker whose log is a pipe that no process reads.
func TestStopWhileTheLogHangs(t *testing.T) {
	t.Parallel() // the test takes several seconds
	folder := t.TempDir()
	pipe, log := smallPipe(t, folder)
	path := filepath.Join(folder, "broker.yaml")
	text := "listen: {grpc: '127.0.0.1:0', http: '127.0.0.1:0'}\ncredentials: []\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("", nil, "sh", "-c", `exec broker serve --config "$0" 2>"$1"`, path, pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	lines := bufio.NewReader(log)
	if err := log.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for line := ""; !strings.Contains(line, "msg=serving "); {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, log)
	began := time.Now()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	how, err := p.wait()
	if took := time.Since(began); err != nil || how != "exit 1" || took < stopPeriod || took > stopPeriod+20*time.Second {
		t.Errorf("the broker ends with %q (%v) after %v, want exit 1 shortly after %v", how, err, took, stopPeriod)
	}
}

// smallPipe creates a named pipe of the smallest possible size, and keeps both of its ends open.
func smallPipe(t *testing.T, folder string) (path string, pipe *os.File) {
	t.Helper()
	path = filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pipe.Close() })
	conn, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const smallest = 4096 // the smallest size of a pipe in bytes, enough for about twenty log lines
	var failed error
	if err := conn.Control(func(fd uintptr) { _, failed = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, smallest) }); errors.Join(err, failed) != nil {
		t.Fatal(errors.Join(err, failed))
	}
	return path, pipe
}

// fill writes to a pipe until it is completely full.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	conn, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = conn.Write(func(fd uintptr) bool {
		for failed == nil {
			_, failed = unix.Write(int(fd), []byte{'\n'})
		}
		return true
	})
	if err != nil || !errors.Is(failed, unix.EAGAIN) {
		t.Fatal(errors.Join(err, failed))
	}
}

// fillAudit makes calls without deadlines, and returns when the first one has failed because its
// audit record could not be written. The other calls still wait.
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
			// After a failed call, each client makes one more call, which waits until the broker
			// has ended.
			_, _ = authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(context.Background(),
				&authmaterialv1.GetAuthDecorationRequest{CredentialId: "k"})
		}()
	}
	select {
	case <-failed:
	case <-time.After(patience):
		t.Fatal("every call is answered, although no process reads the audit pipe")
	}
}
