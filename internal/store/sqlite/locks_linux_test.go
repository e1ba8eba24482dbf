package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

// TestOpenKeepsLocks opens a database that this process has open already. POSIX locks of a process
// end when the process closes any descriptor of the file.
func TestOpenKeepsLocks(t *testing.T) {
	t.Parallel()
	path, keys := filepath.Join(t.TempDir(), "broker.db"), fleetkeys.RandomRing()
	s := openAt(t, path, keys)
	if _, err := s.Revision(t.Context()); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	locked := func() bool {
		t.Helper()
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
			t.Fatal(err)
		}
		return lock.Type != unix.F_UNLCK
	}
	if !locked() {
		t.Fatal("SQLite has no lock on the file, so this test proves nothing")
	}
	openAt(t, path, keys)
	if !locked() {
		t.Error("Open released the locks of another connection to the same file")
	}
	_ = file.Close()
}
