// Package sqlite adapts a credential store to SQLite. The store is one file, whose folder may contain
// other files of the broker.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/authmaterial/broker/internal/store"
)

//go:embed migrations
var migrations embed.FS

// The constant settings contains the settings of every connection. The setting secure_delete
// overwrites deleted data with zeros.
const settings = "_pragma=busy_timeout(5000)&_pragma=foreign_keys(ON)&_pragma=journal_mode(WAL)" +
	"&_pragma=secure_delete(ON)&_pragma=synchronous(FULL)"

// initializeTimeout limits how long Open waits for another process that has just created the database.
const initializeTimeout = 5 * time.Second

// readers is the largest number of connections that read at the same time.
const readers = 4

// driver is a store.Driver for one file.
type driver struct {
	path string
	file os.FileInfo // the database file that was opened
	// writer has a single connection, because SQLite lets only one connection write at a time. The
	// goroutines that write thus wait in the fair queue of database/sql, instead of polling the lock
	// of the file.
	writer *sql.DB
	reader *sql.DB
}

// Open opens or creates a database file. The folder of the file must exist, and only the owner of
// the file may have access to it.
func Open(path string) (store.Driver, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file, err := prepare(path)
	if err != nil {
		return nil, err
	}
	d := &driver{path: path, file: file}
	name := "file://" + (&url.URL{Path: path}).EscapedPath() + "?" + settings
	if d.writer, err = sql.Open("sqlite", name+"&_txlock=immediate"); err != nil {
		return nil, err
	}
	if d.reader, err = sql.Open("sqlite", name+"&_pragma=query_only(ON)"); err != nil {
		return nil, errors.Join(err, d.writer.Close())
	}
	d.writer.SetMaxOpenConns(1)
	d.reader.SetMaxOpenConns(readers)
	d.reader.SetMaxIdleConns(readers)
	if file.Size() == 0 {
		_ = d.initialize() // the first use returns the same error
	}
	return d, nil
}

// initialize switches a new database to the mode WAL while this process has the lock on the folder.
// SQLite fails with SQLITE_BUSY if two connections do that at the same time, whatever the busy_timeout.
func (d *driver) initialize() error {
	ctx, cancel := context.WithTimeout(context.Background(), initializeTimeout)
	defer cancel()
	lock := &folderLock{path: filepath.Dir(d.path)}
	if err := lock.Lock(ctx, nil); err != nil {
		return err
	}
	return errors.Join(d.writer.PingContext(ctx), lock.Unlock(ctx, nil))
}

// prepare creates the database file if it is missing, and checks who has access to it. SQLite
// creates its journal with the permissions of the database file.
func prepare(path string) (os.FileInfo, error) {
	folder, err := os.Stat(filepath.Dir(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the folder of the database %s does not exist: create it", path)
	case err != nil:
		return nil, fmt.Errorf("the folder of the database cannot be read: %w", err)
	case folder.Mode().Perm()&0o002 != 0:
		return nil, fmt.Errorf("everybody may write to the folder of the database %s: run chmod o-w %s", path, filepath.Dir(path))
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator chose the path
	switch {
	case err == nil:
		err = file.Close()
	case errors.Is(err, fs.ErrExist):
		// The file must not be opened here, because closing it would release the locks that this
		// process may have on it.
		err = unix.Access(path, unix.R_OK|unix.W_OK)
	}
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("the database %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("users other than the owner have access to the database %s: run chmod 600 %s", path, path)
	}
	return info, nil
}

func (d *driver) Writer() *sql.DB { return d.writer }
func (d *driver) Reader() *sql.DB { return d.reader }
func (d *driver) Close() error    { return errors.Join(d.reader.Close(), d.writer.Close()) }

// Migrations returns migrations that lock the folder while they run.
func (d *driver) Migrations(log *slog.Logger) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, d.writer, files,
		goose.WithLocker(&folderLock{path: filepath.Dir(d.path)}), goose.WithSlog(log), goose.WithDisableGlobalRegistry(true))
}

// Moved implements store.Locator.
func (d *driver) Moved() bool {
	now, err := os.Stat(d.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(now, d.file)
}

// Erase moves all data from the journal to the database file, and empties the journal.
func (d *driver) Erase(ctx context.Context) error {
	var busy, pages, moved int
	err := d.writer.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved)
	if err == nil && busy != 0 {
		return errors.New("the journal is being read")
	}
	return err
}

// Now implements store.Driver.
func (d *driver) Now() string { return `CAST(unixepoch('subsec') * 1000000 AS INTEGER)` }

// Unavailable implements store.Driver.
func (d *driver) Unavailable(err error) bool {
	var failed *sqlite.Error
	if !errors.As(err, &failed) {
		return false
	}
	switch failed.Code() & 0xff { // the higher bits of an error code only give details
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return true
	}
	return false
}
