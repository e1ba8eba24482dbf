package storetest

import (
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/store"
)

// Load measures how long Changes takes to read all credentials, how much memory the rows need, and how
// long Changes takes to read one changed credential. The store contains 100,000 credentials, or as
// many as the environment variable STORETEST_CREDENTIALS says.
func Load(b *testing.B, driver store.Driver) {
	count := 100_000
	if text := os.Getenv("STORETEST_CREDENTIALS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	s, err := store.Open(b.Context(), driver, store.Options{Keys: fleetkeys.RandomRing()})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Apply(b.Context(), NewCredential("credential")); err != nil {
		b.Fatal(err)
	}
	copyCredential(b, driver, count-1)
	b.Run("all", func(b *testing.B) {
		rows := make([]*store.Row, 0, count)
		before := heap()
		for b.Loop() {
			rows = rows[:0]
			readChanges(b, s, 0, func(row *store.Row) { rows = append(rows, row) })
		}
		b.ReportMetric(float64(heap()-before)/float64(len(rows)), "heap-B/credential")
		if len(rows) != count {
			b.Fatalf("Changes reported %d credentials, want %d", len(rows), count)
		}
	})
	b.Run("one", func(b *testing.B) {
		rows := 0
		for b.Loop() {
			readChanges(b, s, int64(count)-1, func(*store.Row) { rows++ })
		}
		if rows != b.N {
			b.Fatalf("%d calls of Changes reported %d credentials, want one each", b.N, rows)
		}
	})
}

func readChanges(b *testing.B, s *store.Store, after int64, each func(*store.Row)) {
	b.Helper()
	_, err := s.Changes(b.Context(), after, func(row *store.Row) error { each(row); return nil })
	if err != nil {
		b.Fatal(err)
	}
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc) //nolint:gosec // The size of the heap fits into an int64.
}

// copyCredential copies the rows of the only credential in the store. The values of the copies
// cannot be decrypted, because the values are bound to the original credential.
func copyCredential(b *testing.B, driver store.Driver, copies int) {
	b.Helper()
	for _, statement := range []string{
		`INSERT INTO credentials SELECT c.id || '-' || CAST(n.i AS TEXT), display_name, description, labels, provider, auth_method, disabled, keep_warm,
			secret_expire_time, active_version, canary_version, canary_callers, create_time, update_time, delete_time, revision, c.sequence + n.i FROM credentials c, n`,
		`INSERT INTO versions SELECT credential_id || '-' || CAST(n.i AS TEXT), number, id, allowed_hosts, public_values, secret_fields, create_time,
			activate_time, destroy_time, creator, verification, sealed, data_key, origin FROM versions, n`,
	} {
		numbers := `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) `
		if _, err := driver.Writer().ExecContext(b.Context(), numbers+statement, copies); err != nil {
			b.Fatal(err)
		}
	}
}
