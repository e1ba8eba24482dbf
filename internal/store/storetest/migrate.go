package storetest

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

// The folder testdata contains a backup of each version of the schema, with the rows of
// fixture.fill. These backups are encrypted with the key of the function fixtureRing.
//
//go:embed testdata
var backups embed.FS

// writing is the name of an environment variable. If the variable names a folder, the test of
// SQLite writes a backup with the newest schema to this folder.
const writing = "STORETEST_WRITE"

func fixtureRing(t *testing.T) *fleetkeys.Ring {
	t.Helper()
	data := make([]byte, fleetkeys.Size)
	for i := range data {
		data[i] = byte(i)
	}
	key, err := fleetkeys.Parse(secret.New(base64.StdEncoding.EncodeToString(data)))
	if err != nil {
		t.Fatal(err)
	}
	return ring(t, key)
}

// The test migrates restores a backup of each earlier schema. Restore then runs all later
// migrations on the rows of the backup.
func migrates(t *testing.T, f *fixture) {
	f.keys = fixtureRing(t)
	if folder := os.Getenv(writing); folder != "" {
		s := f.open()
		f.fill(s)
		data := f.backup(s)
		header, err := store.CheckBackup(store.Options{Keys: f.keys}, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		text := base64.StdEncoding.AppendEncode(nil, data)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("schema-%d.backup.base64", header.Schema)), text, 0o600); err != nil { //nolint:gosec // the developer chose the folder
			t.Fatal(err)
		}
		return
	}
	provider, err := f.driver().Migrations(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	sources := provider.ListSources()
	if len(sources) == 0 {
		t.Fatal("the driver has no migrations")
	}
	for _, source := range sources {
		data, err := readBackup(fmt.Sprintf("testdata/schema-%d.backup", source.Version))
		if err != nil {
			t.Errorf("%v: to write the missing backup, run the tests of package sqlite with %s=../storetest/testdata", err, writing)
			continue
		}
		f.migratesFrom(data)
	}
}

// readBackup reads a backup, which is either a file of this name, or base64 text in a file with the
// suffix .base64.
func readBackup(name string) ([]byte, error) {
	if data, err := backups.ReadFile(name); err == nil {
		return data, nil
	}
	text, err := backups.ReadFile(name + ".base64")
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.AppendDecode(nil, text)
}

func (f *fixture) migratesFrom(backup []byte) {
	t := f.t
	t.Helper()
	target := newFixture(t, f.create(t), f.keys)
	if err := target.restore(f.keys, bytes.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	s := target.open()
	report, err := s.Check(t.Context())
	if err != nil || len(report.Problems) != 0 || report.Credentials != 3 || report.Versions != 4 {
		t.Errorf("after the migrations, Check returned the report %+v and the error %v", report, err)
	}
	content := target.content(s)
	for _, want := range []string{"value " + canary(name(0)), "value second", "KeepWarm:true", "CreateCredential", "Caller:bob Version:1", "ACCEPTED", " true <nil>"} {
		if !strings.Contains(content, want) {
			t.Errorf("after the migrations, the store does not contain %q:\n%s", want, content)
		}
	}
	target.apply(s, NewCredential("later"))
}

// acceptsNewer opens a database that a newer release migrated. Migrations of a newer release may
// only add to the schema.
func acceptsNewer(t *testing.T, f *fixture) {
	f.fill(f.open())
	f.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`)
	for _, table := range []string{"store", "credentials", "versions", "events", "requests", "uses", "refresh_tokens"} {
		if _, err := f.driver().Writer().ExecContext(t.Context(), `ALTER TABLE `+table+` ADD COLUMN of_a_newer_release TEXT NOT NULL DEFAULT 'x'`); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	s, err := store.Open(t.Context(), f.driver(), store.Options{Keys: f.keys, Clock: f.clock, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "a newer release has migrated the store") {
		t.Errorf("the log has no warning about a newer release: %s", &log)
	}
	f.apply(s, NewCredential("later"))
	credential, _ := f.credential(s, name(0))
	f.apply(s, update(credential))
	if _, rows, _ := f.changes(s, 0); len(rows) != 4 {
		t.Errorf("the migrated store contains %d credentials, want 4", len(rows))
	}
	if err := s.Backup(t.Context(), new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("the backup by an older release returned the error %v, want an error that names the newer release", err)
	}
}
