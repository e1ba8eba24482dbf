package server_test

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/sqlite"
)

const mine = "team-mine" // a credential that the attacker may use

// storedAttack creates a database with one credential of the attacker and one of another caller,
// and returns the file and the other caller's secret.
func storedAttack(t *testing.T) (file, secret string) {
	t.Helper()
	file, secret = filepath.Join(t.TempDir(), "broker.db"), "key-of-the-victim"
	t.Run("create", func(t *testing.T) {
		m := serveStored(t, usingText(file), storeKey)
		m.create("owner", victim, "pendo", secret)
		m.create("owner", mine, "pendo", "key-of-the-attacker")
		if got := m.mustMaterial("attacker", mine); !slices.Equal(got, []string{"key-of-the-attacker"}) {
			t.Errorf("the attacker gets %v", got)
		}
	})
	return file, secret
}

func usingText(file string) string {
	return strings.Replace(attackerText(file), "grants:", `grants:
  - {callers: ["token:attacker"], credentials: [`+mine+`]}`, 1)
}

func copyFile(t *testing.T, from string) (to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	to = filepath.Join(t.TempDir(), "broker.db")
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// An attacker who can write to the database tries to get another caller's secret through a
// credential that the attacker may use, or to add a host to the other caller's credential.
func TestAttackByTheDatabase(t *testing.T) {
	file, secret := storedAttack(t)
	for name, statements := range map[string][]string{
		"nothing":           nil,
		"the sealed values": {`UPDATE versions SET (sealed, data_key) = (SELECT sealed, data_key FROM versions WHERE credential_id = 'victim') WHERE credential_id = 'team-mine'`},
		"the version":       {`UPDATE versions SET (id, sealed, data_key, secret_fields) = (SELECT id, sealed, data_key, secret_fields FROM versions WHERE credential_id = 'victim') WHERE credential_id = 'team-mine'`},
		"a row":             {`UPDATE versions SET credential_id = 'team-mine', number = 2 WHERE credential_id = 'victim'`, `UPDATE credentials SET active_version = 2 WHERE id = 'team-mine'`},
		"the ID":            {`PRAGMA foreign_keys = off`, `DELETE FROM credentials WHERE id = 'team-mine'`, `DELETE FROM versions WHERE credential_id = 'team-mine'`, `UPDATE credentials SET id = 'team-mine' WHERE id = 'victim'`, `UPDATE versions SET credential_id = 'team-mine' WHERE credential_id = 'victim'`},
		"a host":            {`UPDATE versions SET allowed_hosts = '["api.example.test"]' WHERE credential_id = 'victim'`},
		"the provider":      {`UPDATE credentials SET provider = 'pulsedive' WHERE id = 'victim'`},
		"the auth method":   {`UPDATE credentials SET auth_method = 'other' WHERE id = 'victim'`},
		"a public value":    {`UPDATE versions SET public_values = '{"api_key":"k"}' WHERE credential_id = 'victim'`},
		"the number":        {`UPDATE versions SET number = 2 WHERE credential_id = 'victim'`, `UPDATE credentials SET active_version = 2 WHERE id = 'victim'`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := copyFile(t, file)
			database, err := sql.Open("sqlite", changed)
			if err != nil {
				t.Fatal(err)
			}
			database.SetMaxOpenConns(1)
			for _, statement := range statements {
				if _, err := database.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			_ = database.Close()
			wantNoMaterial(t, changed, secret, name)
		})
	}
}

// wantNoMaterial runs a server with the database that the attacker has changed. The attacker must
// not get the other caller's secret. The other caller must get the secret only for the hosts of the
// provider.
func wantNoMaterial(t *testing.T, file, secret, changed string) {
	t.Helper()
	m := serveStored(t, usingText(file), storeKey)
	got, err := m.material("attacker", mine)
	if strings.Contains(strings.Join(got, " "), secret) || err == nil && !slices.Equal(got, []string{"key-of-the-attacker"}) {
		t.Errorf("the attacker gets %d values, and the error %v", len(got), err)
	}
	answer, err := m.client().GetAuthDecoration(m.as("web"), &authmaterialv1.GetAuthDecorationRequest{CredentialId: victim})
	if err == nil && (slices.Contains(answer.GetAuthDecoration().GetAllowedHosts(), partner) || !strings.Contains(textOf(answer), secret)) {
		t.Errorf("other callers get wrong material, or the wrong hosts %v", answer.GetAuthDecoration().GetAllowedHosts())
	}
	if changed == "nothing" && err != nil || changed == "a host" && status.Code(err) != codes.Internal {
		t.Errorf("others: %v", err)
	}
	m.wantNoSecretOf(secret)
}

func (m managing) wantNoSecretOf(secret string) {
	m.Helper()
	if strings.Contains(m.log.String(), secret) {
		m.Error("the log contains a secret")
	}
}

// An attacker who has a backup, but not the store key, tries to restore the backup.
func TestAttackByBackup(t *testing.T) {
	file, victims := storedAttack(t)
	var backup bytes.Buffer
	driver := openDriver(t, file)
	opened, err := store.Open(t.Context(), driver, storeOptions(t, storeKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(backup.Bytes(), []byte(victims)) || bytes.Contains(backup.Bytes(), []byte(victim)) {
		t.Error("the backup is not encrypted")
	}
	restore := func(key string, data []byte) (string, error) {
		into := filepath.Join(t.TempDir(), "restored.db")
		return into, store.Restore(t.Context(), openDriver(t, into), storeOptions(t, key), bytes.NewReader(data))
	}
	if _, err := restore(fleetkeys.Generate(), backup.Bytes()); err == nil {
		t.Error("the backup was restored with another key")
	}
	for at := 0; at < backup.Len(); at += 1 + backup.Len()/50 {
		changed := bytes.Clone(backup.Bytes())
		changed[at] ^= 1
		if _, err := restore(storeKey, changed); err == nil {
			t.Errorf("a backup with a changed byte %d was restored", at)
		}
	}
	if err := store.Restore(t.Context(), driver, storeOptions(t, storeKey), bytes.NewReader(backup.Bytes())); err == nil {
		t.Error("the backup was restored over the store in use")
	}
	into, err := restore(storeKey, backup.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	wantNoMaterial(t, into, victims, "nothing")
}

func openDriver(t *testing.T, file string) store.Driver {
	t.Helper()
	driver, err := sqlite.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	return driver
}

func storeOptions(t *testing.T, key string) store.Options {
	t.Helper()
	parsed, err := fleetkeys.Parse(secret.New(key))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := fleetkeys.NewRing(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return store.Options{Keys: ring}
}
