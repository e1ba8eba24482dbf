package regularfile_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/authmaterial/broker/internal/regularfile"
)

const limit = 1 << 10

func folder(t *testing.T) string {
	t.Helper()
	where, err := os.MkdirTemp("", "files") // the path is short, because the path of a socket has a length limit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(where) })
	in := func(name string) string { return filepath.Join(where, name) }
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", in("socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	for _, err := range []error{
		os.WriteFile(in("small"), []byte("text"), 0o600),
		os.WriteFile(in("full"), make([]byte, limit), 0o600),
		os.WriteFile(in("large"), make([]byte, limit+1), 0o600),
		os.WriteFile(in("huge"), nil, 0o600),
		os.Truncate(in("huge"), 1<<40), // a sparse file, which needs little space
		syscall.Mkfifo(in("fifo"), 0o600),
		os.Symlink("fifo", in("to fifo")),
		os.Symlink("loop", in("loop")),
		os.Mkdir(in("..2026"), 0o700), // Kubernetes mounts a Secret with such a folder
		os.WriteFile(in("..2026/key"), []byte("text"), 0o600),
		os.Symlink("..2026", in("..data")),
		os.Symlink("..data/key", in("key")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return where
}

func TestRead(t *testing.T) {
	where := folder(t)
	for name, want := range map[string]string{"small": "text", "key": "text", "full": string(make([]byte, limit))} {
		if got, err := regularfile.Read(filepath.Join(where, name), limit); err != nil || string(got) != want {
			t.Errorf("%s: Read returned %d bytes and the error %v", name, len(got), err)
		}
	}
	const notRegular, large = "is not a regular file", "is larger than the limit of 1 KiB"
	for name, want := range map[string]string{
		"fifo": notRegular, "to fifo": notRegular, "socket": notRegular, ".": notRegular, "/dev/zero": notRegular, os.DevNull: notRegular,
		"large": large, "huge": large,
		"none": "does not exist", "small/none": "cannot be read: not a directory", "loop": "cannot be read: too many levels of symbolic links",
	} {
		path := name
		if !filepath.IsAbs(name) {
			path = filepath.Join(where, name)
		}
		if got, err := regularfile.Read(path, limit); err == nil || err.Error() != want || got != nil {
			t.Errorf("%s: Read returned %d bytes and the error %v", name, len(got), err)
		}
	}
	if _, err := regularfile.Read(filepath.Join(where, "none"), limit); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error %v is not fs.ErrNotExist", err)
	}
	if _, err := regularfile.Read(filepath.Join(where, "large"), 2<<20); err != nil {
		t.Error(err)
	}
	if _, err := regularfile.Read(filepath.Join(where, "huge"), 2<<20); err == nil || err.Error() != "is larger than the limit of 2 MiB" {
		t.Error(err)
	}
}

func TestReadAll(t *testing.T) {
	endless := &counter{}
	if _, err := regularfile.ReadAll(endless, limit); err == nil || endless.read > limit+1 {
		t.Errorf("ReadAll read %d bytes and returned the error %v", endless.read, err)
	}
	if got, err := regularfile.ReadAll(strings.NewReader("text"), 4); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
	failing := iotest.ErrReader(&fs.PathError{Op: "read", Path: "/canary", Err: syscall.EIO})
	if _, err := regularfile.ReadAll(failing, limit); !errors.Is(err, syscall.EIO) || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
}

type counter struct{ read int64 }

func (c *counter) Read(into []byte) (int, error) {
	c.read += int64(len(into))
	return len(into), nil
}

var _ io.Reader = (*counter)(nil)
