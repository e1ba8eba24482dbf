package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockInterval is the time between two attempts to lock the folder.
const lockInterval = 20 * time.Millisecond

// folderLock lets only one process at a time migrate the databases of a folder. SQLite's own lock
// does not cover a whole migration. A lock on the database file is not possible, because closing
// that file would release SQLite's own locks. A lock on a separate file would leave that file
// behind.
type folderLock struct {
	path   string
	folder *os.File
}

// Lock implements lock.Locker of goose.
func (l *folderLock) Lock(ctx context.Context, _ *sql.DB) error {
	folder, err := os.Open(l.path)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(lockInterval)
	defer ticker.Stop()
	for {
		err = unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			l.folder = folder
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return errors.Join(fmt.Errorf("lock the folder %s: %w", l.path, err), folder.Close())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("another process migrates the database in %s: %w", l.path, ctx.Err()), folder.Close())
		}
	}
}

// Unlock implements lock.Locker of goose.
func (l *folderLock) Unlock(context.Context, *sql.DB) error { return l.folder.Close() }
