package sqlite_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/sqlite"
	"github.com/authmaterial/broker/internal/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Database {
		path := filepath.Join(t.TempDir(), "broker.db")
		return storetest.Database{
			Open: func() (store.Driver, error) { return sqlite.Open(path) },
			Dump: func(t *testing.T) []byte { return files(t, filepath.Dir(path)) },
		}
	})
}

// files returns the content of all files of a folder, and checks that only the owner may read them.
func files(t *testing.T, folder string) (all []byte) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file %s has the mode %v and the error %v, want the mode 0600", path, info.Mode(), err)
		}
		data, err := os.ReadFile(path)
		all = append(all, data...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name string, mode fs.FileMode) string {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.WriteFile(path, nil, mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	public := filepath.Join(folder, "public")
	if err := errors.Join(os.Mkdir(public, 0o700), os.Chmod(public, 0o777)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(folder, "missing", "db"): "does not exist: create it",
		write("readable", 0o640):               "run chmod 600 " + folder,
		write("writable", 0o602):               "run chmod 600 " + folder,
		filepath.Join(public, "db"):            "run chmod o-w " + public,
		public:                                 "is not a regular file",
	} {
		if _, err := sqlite.Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("opening the database %s returned the error %v, want an error that contains %q", path, err, want)
		}
	}
}

func TestNotADatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a file?#%20 of text")
	if err := os.WriteFile(path, []byte(strings.Repeat("This is not a database. ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	driver, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	err = migrate(t, driver)
	if err == nil || driver.Unavailable(err) || !strings.Contains(err.Error(), "not a database") {
		t.Errorf("the migration of a text file returned the error %v, want an error that says that the file is not a database", err)
	}
}

func migrate(t *testing.T, driver store.Driver) error {
	t.Helper()
	provider, err := driver.Migrations(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = provider.Up(t.Context())
	return err
}

// TestLocked holds the file's lock, as another process may, for longer than a write waits.
func TestLocked(t *testing.T) {
	t.Parallel()
	s, other, _ := openStore(t)
	tx, err := other.Writer().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), storetest.NewCredential("one")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("while another process holds the lock, Apply returned the error %v, want ErrUnavailable", err)
	}
	if revision, err := s.Revision(t.Context()); revision != 0 || err != nil {
		t.Errorf("while another process holds the lock, Revision returned %d and the error %v, want 0", revision, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), storetest.NewCredential("one")); err != nil {
		t.Errorf("a change after the lock was released failed: %v", err)
	}
}

// TestErasesLater destroys values while another process reads the journal. A process that is started
// later erases the values.
func TestErasesLater(t *testing.T) {
	t.Parallel()
	s, other, keys := openStore(t)
	change := storetest.NewCredential("one")
	if _, err := s.Apply(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	credential, _, err := s.Credential(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Version(t.Context(), "one", 1)
	if err != nil {
		t.Fatal(err)
	}
	sealed := first.Sealed[8:]
	change.Insert.Number, credential.ActiveVersion = 2, 2
	if credential.Revision, err = s.Apply(t.Context(), store.Change{Credential: credential, Insert: change.Insert, Event: change.Event}); err != nil {
		t.Fatal(err)
	}
	tx, err := other.Reader().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var revision int64
	if err := tx.QueryRowContext(t.Context(), `SELECT revision FROM store`).Scan(&revision); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), store.Change{Credential: credential, Destroy: 1, Event: change.Event}); err != nil {
		t.Errorf("while another process reads the journal, Apply returned the error %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	var path string
	if err := other.Reader().QueryRowContext(t.Context(), `SELECT file FROM pragma_database_list`).Scan(&path); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(path)
	if !bytes.Contains(files(t, folder), sealed) {
		t.Fatal("the journal was truncated while it was read, so this test proves nothing")
	}
	later, err := store.Open(t.Context(), other, store.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := later.Purge(t.Context(), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(files(t, folder), sealed) {
		t.Error("after the next purge, the files still contain the encrypted values")
	}
}

// openStore returns a Store in a new database, a second driver for the same database, and the store
// keys.
func openStore(t *testing.T) (*store.Store, store.Driver, *fleetkeys.Ring) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "broker.db")
	drivers := make([]store.Driver, 2)
	for i := range drivers {
		var err error
		if drivers[i], err = sqlite.Open(path); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = drivers[i].Close() })
	}
	keys := fleetkeys.RandomRing()
	s, err := store.Open(t.Context(), drivers[0], store.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return s, drivers[1], keys
}

func TestCrash(t *testing.T) {
	t.Parallel()
	storetest.Crash(t, func(t *testing.T) string { return filepath.Join(t.TempDir(), "broker.db") }, sqlite.Open, nil)
}

func BenchmarkLoad(b *testing.B) {
	driver, err := sqlite.Open(filepath.Join(b.TempDir(), "broker.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = driver.Close() })
	storetest.Load(b, driver)
}
