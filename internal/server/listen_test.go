package server_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
)

func wantRefused(t *testing.T, address config.Address, want string) {
	t.Helper()
	listener, err := server.Listen(t.Context(), address, 0o600)
	if err == nil {
		_ = listener.Close()
		t.Fatalf("Listen(%s) succeeded", address)
	}
	if !strings.HasPrefix(err.Error(), want) {
		t.Errorf("the error is %q, want %q", err, want)
	}
	if strings.Count(err.Error(), address.Address) != 1 {
		t.Errorf("the error %q does not contain the address exactly once", err)
	}
}

func TestListenOnLoopbackAlone(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "127.1.2.3:0", "localhost:0"} {
		listener := listen(t, config.Address{Network: "tcp", Address: address}, 0)
		if local, ok := listener.Addr().(*net.TCPAddr); !ok || !local.IP.IsLoopback() || local.Port == 0 {
			t.Errorf("Listen(%s) listens on %s", address, listener.Addr())
		}
	}
	for _, address := range []string{"0.0.0.0:0", ":0"} {
		wantRefused(t, config.Address{Network: "tcp", Address: address}, "listen on "+address+": not a loopback address: ")
	}
}

func TestListenOnATakenPort(t *testing.T) {
	taken := config.Address{Network: "tcp", Address: listenTCP(t).Addr().String()}
	wantRefused(t, taken, "listen on "+taken.Address+": bind: ")
}

func TestModeOfASocket(t *testing.T) {
	before := syscall.Umask(0o027)
	defer syscall.Umask(before)
	for _, mode := range []os.FileMode{0o600, 0o660, 0o666} {
		path := filepath.Join(socketFolder(t), "socket")
		listen(t, unix(path), mode)
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != os.ModeSocket|mode {
			t.Errorf("the mode of the socket is %v, want %v", info.Mode(), os.ModeSocket|mode)
		}
		if mask := syscall.Umask(0o027); mask != 0o027 {
			t.Errorf("after Listen the process's file mode mask is %o, want 027 as before", mask)
		}
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(socketFolder(t), "socket")
	old := listen(t, unix(path), 0o600)
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("there is no stale socket")
	}
	listen(t, unix(path), 0o600)
	var dialer net.Dialer
	connection, err := dialer.DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatalf("the new socket does not answer: %v", err)
	}
	_ = connection.Close()
}

func TestOtherFilesAreNotReplaced(t *testing.T) {
	folder := socketFolder(t)
	answered := filepath.Join(folder, "answered")
	listen(t, unix(answered), 0o600)
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(folder, "link")
	if err := os.Symlink(answered, link); err != nil {
		t.Fatal(err)
	}
	const otherKind = ": the file exists and is not a socket"
	for path, want := range map[string]string{
		answered:                      ": another process listens there",
		file:                          otherKind,
		link:                          otherKind,
		folder:                        otherKind,
		filepath.Join(folder, "a/b"):  ": bind: no such file or directory",
		filepath.Join(file, "socket"): ": not a directory",
	} {
		before, _ := os.Lstat(path)
		wantRefused(t, unix(path), "listen on unix://"+path+want)
		if after, _ := os.Lstat(path); before != nil && (after == nil || !os.SameFile(before, after)) {
			t.Errorf("%s has changed", filepath.Base(path))
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Error("the file was changed")
	}
}
