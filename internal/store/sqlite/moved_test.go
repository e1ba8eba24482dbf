package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/sqlite"
	"github.com/authmaterial/broker/internal/store/storetest"
)

// TestMoved checks that calls fail after the database file was deleted or replaced, because the
// next start would not find their changes.
func TestMoved(t *testing.T) {
	t.Parallel()
	for what, move := range map[string]func(path string) error{
		"deleted": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600))
		},
		"deleted with its folder": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, "broker.db")
			s := openAt(t, path, fleetkeys.RandomRing())
			if _, err := s.Apply(t.Context(), storetest.NewCredential("one")); err != nil {
				t.Fatal(err)
			}
			if err := move(path); err != nil {
				t.Fatal(err)
			}
			_, applied := s.Apply(t.Context(), storetest.NewCredential("two"))
			_, polled := s.Revision(t.Context())
			for _, err := range []error{applied, polled} {
				if !errors.Is(err, store.ErrReplaced) {
					t.Errorf("after the database was %s, a call returned the error %v, want ErrReplaced", what, err)
				}
			}
		})
	}
}

func openAt(t *testing.T, path string, keys *fleetkeys.Ring) *store.Store {
	t.Helper()
	driver, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	s, err := store.Open(t.Context(), driver, store.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
