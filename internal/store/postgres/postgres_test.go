package postgres_test

import (
	"encoding/hex"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/postgres"
	"github.com/authmaterial/broker/internal/store/sqlite"
	"github.com/authmaterial/broker/internal/store/storetest"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

func open(address string) (store.Driver, error) {
	return postgres.Open(address, secret.New(postgrestest.User), secret.New(postgrestest.Password))
}

func TestStore(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, "-c", "max_connections=300")
	// The tests in this group run in parallel. The server is stopped after all of them have ended.
	t.Run("group", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Database { return database(t, server) })
	})
}

func TestMove(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	inFile := func() storetest.Database {
		path := filepath.Join(t.TempDir(), "broker.db")
		return storetest.Database{Open: func() (store.Driver, error) { return sqlite.Open(path) }}
	}
	t.Run("to SQLite", func(t *testing.T) { storetest.Move(t, database(t, server), inFile()) })
	t.Run("from SQLite", func(t *testing.T) { storetest.Move(t, inFile(), database(t, server)) })
}

func database(t *testing.T, server *postgrestest.Server) storetest.Database {
	t.Helper()
	address := server.Database(t)
	return storetest.Database{
		Open: func() (store.Driver, error) { return open(address) },
		Dump: func(t *testing.T) []byte { return decoded(server.Dump(t, address)) },
	}
}

// decoded decodes the columns of the type BYTEA in a dump of the database.
func decoded(dump []byte) []byte {
	return regexp.MustCompile(`\\\\x[0-9a-f]*`).ReplaceAllFunc(dump, func(text []byte) []byte {
		data, err := hex.DecodeString(string(text[3:]))
		if err != nil {
			return text
		}
		return data
	})
}

func BenchmarkLoad(b *testing.B) {
	driver, err := open(postgrestest.Start(b).Database(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = driver.Close() })
	storetest.Load(b, driver)
}
