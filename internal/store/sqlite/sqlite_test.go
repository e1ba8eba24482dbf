package sqlite_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		public:                                 "is a directory",
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
