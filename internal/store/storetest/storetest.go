// Package storetest contains the tests that a credential store must pass on every database.
package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

// Database is an empty database that belongs to one test.
type Database struct {
	// Open returns a new driver for the database, as each replica has its own driver.
	Open func() (store.Driver, error)
	// Dump returns everything that the database keeps on disk.
	Dump func(*testing.T) []byte
}

// Run runs all tests of this package. The function create returns a new database for each test.
func Run(t *testing.T, create func(*testing.T) Database) {
	tests := map[string]func(*testing.T, *fixture){
		"a new store is empty":                          newIsEmpty,
		"all replicas share one identity":               sharesIdentity,
		"opening needs the right key":                   needsKey,
		"replicas open the store at once":               opensAtOnce,
		"a credential is read back":                     readsBack,
		"an ID is used only once":                       createsOnce,
		"an update needs the revision":                  updates,
		"one of many updates succeeds":                  oneWins,
		"versions and the canary are changed":           versions,
		"versions in use are kept":                      keepsVersions,
		"a refused change has no effect":                storesAllOrNothing,
		"readers miss nothing":                          missesNothing,
		"destroyed values are erased":                   destroys,
		"destroyed versions are limited":                limitsDestroyed,
		"values are bound to their row":                 bound,
		"events":                                        events,
		"events are limited":                            limitsEvents,
		"a verification is not a change":                verification,
		"request IDs":                                   requests,
		"uses":                                          uses,
		"uses are limited":                              limitsUses,
		"refresh tokens":                                rotates,
		"interrupted refreshes":                         interrupts,
		"late successors of refresh tokens":             keepsLateSuccessors,
		"one of many replicas leases a refresh token":   leasesOnce,
		"refresh tokens are bound to their chain":       bindsRefreshTokens,
		"refresh tokens are erased":                     erasesRefreshTokens,
		"rekey encrypts refresh tokens":                 rekeysRefreshTokens,
		"purge spares declared refresh tokens":          purgeSparesDeclared,
		"refresh tokens are not overwritten":            restoresNoOlder,
		"purge":                                         purge,
		"purge removes old uses":                        purgesUses,
		"purge skips a restored credential":             purgeSparesRestored,
		"rekey while other replicas write":              rekey,
		"rekey without the old key":                     rekeyFails,
		"check":                                         check,
		"every old schema is migrated":                  migrates,
		"a newer schema is accepted":                    acceptsNewer,
		"damaged backups":                               damagedBackups,
		"a backup is restored completely or not at all": restoresNothing,
		"a backup contains one state of the store":      backsUpOneState,
		"a backup fails if its writer fails":            failsWithWriter,
		"backup and restore":                            func(t *testing.T, f *fixture) { Move(t, f.database, f.create(t)) },
		"fingerprints":                                  fingerprints,
		"a replaced database is detected":               detectsReplaced,
		"a cancelled call":                              cancelled,
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, create(t), fleetkeys.RandomRing())
			f.create = create
			tests[name](t, f)
		})
	}
}

var start = time.Date(2026, 11, 30, 12, 0, 0, 123456000, time.UTC)

// fixture is the environment of one test: an empty database, a key ring and a clock.
type fixture struct {
	t        *testing.T
	database Database
	keys     *fleetkeys.Ring
	clock    *clockwork.FakeClock
	create   func(*testing.T) Database // creates another database
}

func newFixture(t *testing.T, database Database, keys *fleetkeys.Ring) *fixture {
	return &fixture{t: t, database: database, keys: keys, clock: clockwork.NewFakeClockAt(start)}
}

// driver returns a new driver, and closes the driver at the end of the test.
func (f *fixture) driver() store.Driver {
	f.t.Helper()
	driver, err := f.database.Open()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = driver.Close() })
	return driver
}

// `open` opens the store as a new replica does.
func (f *fixture) open() *store.Store {
	f.t.Helper()
	s, err := f.tryOpen(f.keys)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fixture) tryOpen(keys *fleetkeys.Ring) (*store.Store, error) {
	f.t.Helper()
	return store.Open(f.t.Context(), f.driver(), store.Options{Keys: keys, Clock: f.clock})
}

// exec executes an SQL statement, as an attacker with access to the database could. The statement
// must change exactly one row.
func (f *fixture) exec(statement string) {
	f.t.Helper()
	result, err := f.driver().Writer().ExecContext(f.t.Context(), statement)
	if err != nil {
		f.t.Fatalf("%s: %v", statement, err)
	}
	if changed, err := result.RowsAffected(); changed != 1 || err != nil {
		f.t.Fatalf("the statement %s changed %d rows, want 1; the error is %v", statement, changed, err)
	}
}

// canary returns a recognisable secret. Tests look for the secret in places that must not contain
// secrets.
func canary(name string) string { return "canary-secret-of-" + name }

// NewCredential returns a change that creates a credential with one secret.
func NewCredential(id string) store.Change {
	return store.Change{
		Credential: &store.Credential{
			ID: id, DisplayName: "Name of " + id, Provider: "dataforseo", AuthMethod: "basic",
			ActiveVersion: 1,
		},
		Insert: newVersion(1, canary(id)),
		Event:  &store.Event{Caller: "alice", Operation: "CreateCredential", Outcome: "OK", Version: 1},
	}
}

func newVersion(number int, value string) *store.NewVersion {
	return &store.NewVersion{
		Number: number, AllowedHosts: []string{"api.example.com"}, PublicValues: map[string]string{"login": "user"},
		Values: map[string]secret.Text{"password": secret.New(value)}, Creator: "alice",
	}
}

func update(c *store.Credential) store.Change {
	return store.Change{Credential: c, Event: &store.Event{Caller: "alice", Operation: "UpdateCredential", Outcome: "OK"}}
}

// apply stores a change, and returns the new revision of the store.
func (f *fixture) apply(s *store.Store, change store.Change) int64 {
	f.t.Helper()
	revision, err := s.Apply(f.t.Context(), change)
	if err != nil {
		f.t.Fatal(err)
	}
	return revision
}

// credential returns a credential and its versions with their encrypted values.
func (f *fixture) credential(s *store.Store, id string) (*store.Credential, []*store.Version) {
	f.t.Helper()
	credential, versions, err := s.Credential(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	for n, v := range versions {
		if versions[n], err = s.Version(f.t.Context(), id, v.Number); err != nil {
			f.t.Fatal(err)
		}
	}
	return credential, versions
}

// changes returns the credentials that changed after a revision, and their IDs in the order of the
// changes.
func (f *fixture) changes(s *store.Store, after int64) (ids []string, rows map[string]*store.Row, revision int64) {
	f.t.Helper()
	rows = map[string]*store.Row{}
	revision, err := s.Changes(f.t.Context(), after, func(row *store.Row) error {
		ids = append(ids, row.Credential.ID)
		rows[row.Credential.ID] = row
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return ids, rows, revision
}

// wantValue checks the value of a version's only secret field.
func (f *fixture) wantValue(s *store.Store, c *store.Credential, v *store.Version, want string) {
	f.t.Helper()
	values, err := s.Values(c, v)
	if err != nil || len(values) != 1 || values["password"].Reveal() != want {
		f.t.Errorf("version %d of %s has %d values, want the single expected value; the error is %v", v.Number, c.ID, len(values), err)
	}
}

// `together` calls a function several times at once, and returns the errors of these calls.
func together(times int, call func(i int) error) []error {
	errs, begin, done := make([]error, times), make(chan struct{}), make(chan struct{})
	for i := range times {
		go func() {
			<-begin
			errs[i] = call(i)
			done <- struct{}{}
		}()
	}
	close(begin)
	for range times {
		<-done
	}
	return errs
}

func name(i int) string { return fmt.Sprintf("credential-%03d", i) }

// count returns the result of a query that returns one number.
func (f *fixture) count(query string) (number int) {
	f.t.Helper()
	if err := f.driver().Reader().QueryRowContext(f.t.Context(), query).Scan(&number); err != nil {
		f.t.Fatal(err)
	}
	return number
}

func (f *fixture) context() context.Context { return f.t.Context() }
