// Package postgres adapts a credential store to PostgreSQL, which several replicas share.
package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

//go:embed migrations
var migrations embed.FS

const (
	// writers and readers are the largest numbers of connections of one replica for writing and for
	// reading. A few connections for writing are enough, because only one transaction in all
	// replicas writes at a time.
	writers = 2
	readers = 4

	connectTimeout = 5 * time.Second
	migrateSeconds = 60 // how long a replica waits while another replica migrates
)

// settings applies to each connection, unless the address contains other settings. The timeouts end
// a statement if the client or the server does not respond. The other settings are PostgreSQL's
// defaults, on which package store relies: a commit survives a crash, and a transaction that has
// waited for another transaction sees the changes of the other one. A server or a database may have
// other defaults.
var settings = map[string]string{
	"application_name":                    "authmaterial-broker",
	"default_transaction_isolation":       "read committed",
	"synchronous_commit":                  "on",
	"statement_timeout":                   "300s",
	"lock_timeout":                        "5s",
	"idle_in_transaction_session_timeout": "20s",
}

// driver is a store.Driver and a store.Notifier.
type driver struct {
	config *pgx.ConnConfig
	writer *sql.DB
	reader *sql.DB
}

// Open returns a driver for a database, but does not connect to the database yet. The address has
// the form postgres://host:port/database?sslmode=verify-full, with the parameters of libpq. The
// address must contain sslmode, and must not contain the password. If user is empty, the address or
// libpq's environment variables may give the user. If password is empty, libpq's environment
// variables or its password file may give the password.
func Open(address string, user, password secret.Text) (store.Driver, error) {
	config, err := parse(address)
	if err != nil {
		return nil, err
	}
	if name := user.Reveal(); name != "" {
		config.User = name
	}
	if text := password.Reveal(); text != "" {
		config.Password = text
	}
	// The driver pings each connection before use, so that no statement fails because an idle
	// connection broke.
	ping := func(context.Context, stdlib.ShouldPingParams) bool { return true }
	connector := connector{stdlib.GetConnector(*config, stdlib.OptionShouldPing(ping))}
	d := &driver{config: config, writer: sql.OpenDB(connector), reader: sql.OpenDB(connector)}
	d.writer.SetMaxOpenConns(writers)
	d.reader.SetMaxOpenConns(readers)
	d.reader.SetMaxIdleConns(readers)
	return d, nil
}

// parse parses an address. The errors of parse do not quote the address.
func parse(address string) (*pgx.ConnConfig, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "postgres" && parsed.Scheme != "postgresql" {
		return nil, errors.New("the address of the database is not a URL of the form postgres://host:port/database")
	}
	parameters := parsed.Query()
	if !parameters.Has("sslmode") { // the default of libpq can fall back to a connection without TLS
		return nil, errors.New("the address of the database lacks sslmode: add the parameter, for example sslmode=verify-full")
	}
	if _, found := parsed.User.Password(); found || parameters.Has("password") || parameters.Has("sslpassword") {
		return nil, errors.New("the address of the database contains a password: configure it apart from the address")
	}
	config, err := pgx.ParseConfig(address)
	var quoting *pgconn.ParseConfigError
	if errors.As(err, &quoting) {
		quoting.ConnString = ""
		err = errors.New(strings.TrimPrefix(quoting.Error(), "cannot parse ``: "))
	}
	if err != nil {
		return nil, fmt.Errorf("the address of the database is not valid: %w", err)
	}
	if !parameters.Has("connect_timeout") {
		config.ConnectTimeout = connectTimeout
	}
	for name, value := range settings {
		if _, found := config.RuntimeParams[name]; !found {
			config.RuntimeParams[name] = value
		}
	}
	return config, nil
}

func (d *driver) Writer() *sql.DB { return d.writer }
func (d *driver) Reader() *sql.DB { return d.reader }
func (d *driver) Close() error    { return errors.Join(d.reader.Close(), d.writer.Close()) }

// Now implements store.Driver.
func (d *driver) Now() string {
	return `CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`
}

// Migrations returns the migrations of the schema, which lock the database while they run.
func (d *driver) Migrations(log *slog.Logger) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, migrateSeconds))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, d.writer, files,
		goose.WithSessionLocker(locker), goose.WithSlog(log), goose.WithDisableGlobalRegistry(true))
}
