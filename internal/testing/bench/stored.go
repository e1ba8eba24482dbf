package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/postgres"
	"github.com/authmaterial/broker/internal/store/sqlite"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

// storedKey is the ID of a credential that every broker has, with a key of the same size: in the
// credential store, or in the configuration if the broker has no store.
const storedKey = "stored-key"

const (
	storeKeyVariable         = "BROKER_STORE_KEY"
	postgresUserVariable     = "BROKER_POSTGRES_USER"
	postgresPasswordVariable = "BROKER_POSTGRES_PASSWORD" //nolint:gosec // the name of a variable
)

func writeStore(text *bytes.Buffer, url string) {
	fmt.Fprintf(text, "store:\n  url: %q\n  keys: [{env: %s}]\n", url, storeKeyVariable)
	if strings.HasPrefix(url, "postgres:") {
		fmt.Fprintf(text, "  user: {env: %s}\n  password: {env: %s}\n", postgresUserVariable, postgresPasswordVariable)
	}
}

// database is a credential store with many credentials, which this process changes as another
// replica of the broker would.
type database struct {
	*store.Store

	kind, url, key string
	driver         store.Driver
	changes        int // how often the credential storedKey was changed
}

// fill opens an empty database, and stores a number of credentials in it.
func fill(ctx context.Context, kind, url string, credentials int) (made *database, err error) {
	d := &database{kind: kind, url: url, key: fleetkeys.Generate()}
	if d.driver, err = openDriver(url); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.driver.Close())
		}
	}()
	key, err := fleetkeys.Parse(secret.New(d.key))
	if err != nil {
		return nil, err
	}
	ring, err := fleetkeys.NewRing(key)
	if err != nil {
		return nil, err
	}
	if d.Store, err = store.Open(ctx, d.driver, store.Options{Keys: ring, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, err
	}
	if err := d.add(ctx, "credential", keyOf(40, "")); err != nil {
		return nil, err
	}
	if err := d.copy(ctx, credentials-2); err != nil {
		return nil, err
	}
	return d, d.add(ctx, storedKey, keyOf(keySizes[mediumKey], ""))
}

func openDriver(url string) (store.Driver, error) {
	if path, found := strings.CutPrefix(url, "sqlite://"); found {
		return sqlite.Open(path)
	}
	return postgres.Open(url, secret.New(postgrestest.User), secret.New(postgrestest.Password))
}

// add stores a credential of the provider pendo.
func (d *database) add(ctx context.Context, id, key string) error {
	_, err := d.Apply(ctx, store.Change{
		Credential: &store.Credential{
			ID: id, DisplayName: "The credential " + id, Description: "Measured by the benchmark", Provider: staticKey, AuthMethod: "api_key",
			Labels: map[string]string{"team": "payments", "stage": "production"}, ActiveVersion: 1,
		},
		Insert: newVersion(1, key), Event: &store.Event{Caller: "bench", Operation: "create_credential", Version: 1},
	})
	return err
}

func newVersion(number int, key string) *store.NewVersion {
	return &store.NewVersion{Number: number, Values: map[string]secret.Text{"api_key": secret.New(key)}, Creator: "bench"}
}

// `change` gives the credential storedKey another key of the same size.
func (d *database) change(ctx context.Context) error {
	d.changes++
	credential, versions, err := d.Credential(ctx, storedKey)
	if err != nil {
		return err
	}
	number := versions[len(versions)-1].Number + 1
	credential.ActiveVersion = number
	change := store.Change{Credential: credential, Event: &store.Event{Caller: "bench", Operation: "create_version", Version: number}}
	change.Insert = newVersion(number, keyOf(keySizes[mediumKey], fmt.Sprint(d.changes)))
	_, err = d.Apply(ctx, change)
	return err
}

// `copy` copies the only credential in the store. The secrets of the copies cannot be decrypted,
// because they are encrypted for the ID of the original. No caller requests the copies, so brokers
// never decrypt these secrets.
func (d *database) copy(ctx context.Context, copies int) error {
	const numbers = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) `
	for _, statement := range []string{
		`INSERT INTO credentials SELECT c.id || '-' || CAST(n.i AS TEXT), display_name, description, labels, provider, auth_method, disabled, keep_warm,
			secret_expire_time, active_version, canary_version, canary_callers, create_time, update_time, delete_time, revision, sequence FROM credentials c, n`,
		`INSERT INTO versions SELECT credential_id || '-' || CAST(n.i AS TEXT), number, id, allowed_hosts, public_values, secret_fields, create_time,
			activate_time, destroy_time, creator, verification, sealed, data_key, origin FROM versions, n`,
	} {
		if _, err := d.driver.Writer().ExecContext(ctx, numbers+statement, copies); err != nil {
			return fmt.Errorf("fill the database: %w", err)
		}
	}
	return nil
}

// measureStores prints how much time and memory credentials in SQLite and in PostgreSQL need.
func measureStores(ctx context.Context, chosen options, out io.Writer) error {
	fmt.Fprintf(out, `
What a broker needs for stored credentials (goals: ready within 5 s, at most 500 MB, a change by
another replica served within 1 s, and a page of 1000 credentials listed within 50 ms)
`)
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	for n, credentials := range chosen.stored {
		url := "sqlite://" + filepath.Join(folder, fmt.Sprintf("%d.db", n))
		if err := measureStore(ctx, chosen, "SQLite", url, credentials, n == 0, out); err != nil {
			return err
		}
	}
	if _, err := postgrestest.Find(); err != nil {
		fmt.Fprintf(out, "\nNOT MEASURED: PostgreSQL. %v\n", err)
		return nil
	}
	return with(ctx, rolePostgres, task{Credentials: len(chosen.stored)}, func(server postgresServer) error {
		for n, credentials := range chosen.stored {
			if err := measureStore(ctx, chosen, "PostgreSQL", server.URLs[n], credentials, n == 0, out); err != nil {
				return err
			}
		}
		return nil
	})
}
