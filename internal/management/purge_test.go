package management_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/management"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/sqlite"
)

// records is an audit log that collects the IDs of purged credentials.
type records struct {
	mu     sync.Mutex
	purged []string
}

func (r *records) Write(_ context.Context, record audit.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if record.Operation == audit.PurgeCredential && record.Outcome == "OK" && record.Caller.Name == "broker" {
		r.purged = append(r.purged, record.CredentialID)
	}
	return nil
}

func (r *records) wantPurged(t *testing.T, ids ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.purged) != len(ids) || len(ids) > 0 && r.purged[0] != ids[0] {
		t.Errorf("the audit log contains purges of the credentials %q, want %q", r.purged, ids)
	}
}

// `unserved` is a management.Server that serves nothing.
type unserved struct{ management.Server }

func (unserved) Accepted(string, int, time.Time)              {}
func (unserved) Manage([]*credentials.Credential, []string)   {}
func (unserved) SaveUses(func(uses []broker.Use) error) error { return nil }

const purgeConfig = `
store: {url: "sqlite:///unused", keys: [{env: KEY}]}
listen: {grpc: "unix:///unused"}
grants:
  - {callers: ["uid:1"], credentials: ["*"], actions: [manage]}
  - {callers: ["uid:2"], providers: [pulsedive], actions: [view]}
`

// replicas returns two services that share a database, and their configuration.
func replicas(t *testing.T, clock clockwork.Clock, log audit.Log) (two [2]*management.Service, loaded *config.Config) {
	t.Helper()
	key := fleetkeys.Generate()
	loaded, err := config.Parse("broker.yaml", []byte(purgeConfig), config.Options{LookupEnv: func(string) (string, bool) { return key, true }})
	if err != nil {
		t.Fatal(err)
	}
	driver, err := sqlite.Open(filepath.Join(t.TempDir(), "broker.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	for i := range two {
		two[i] = management.New(management.Options{
			Config: loaded, Server: unserved{}, Audit: log, Clock: clock, Logger: slog.New(slog.DiscardHandler),
			Open: func(ctx context.Context) (management.Store, error) {
				return store.Open(ctx, driver, store.Options{Keys: loaded.Store.Keys, Clock: clock})
			},
		})
		if err := two[i].Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return two, loaded
}

// TestPurge lets two replicas run until a deleted credential is removed for good.
func TestPurge(t *testing.T) {
	clock, log := clockwork.NewFakeClock(), new(records)
	services, loaded := replicas(t, clock, log)
	caller := management.Caller{Caller: access.Caller{Name: "uid:1"}, Config: loaded}
	create := func(id string) error {
		_, err := services[0].Create(t.Context(), caller, management.NewCredential{
			ID: id, DisplayName: id, Provider: "pulsedive", AuthMethod: "api_key",
			Values: []management.FieldValue{{Field: "api_key", Value: secret.New("x")}},
		})
		return err
	}
	for _, id := range []string{"kept", "removed"} {
		if err := create(id); err != nil {
			t.Fatal(err)
		}
	}
	created, err := services[0].Get(t.Context(), caller, "removed")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := services[0].Delete(t.Context(), caller, "removed", created.ETag); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	for _, service := range services {
		running.Go(func() { service.Run(ctx) })
	}
	const timers = 4                       // each replica reads the store, stores uses, purges, and warns of secrets that expire
	pass := func(duration time.Duration) { // returns when all timers that fired were started again
		t.Helper()
		clock.Advance(duration)
		if err := clock.BlockUntilContext(ctx, timers*len(services)); err != nil {
			t.Fatal(err)
		}
	}
	pass(0)
	pass(30 * 24 * time.Hour)
	log.wantPurged(t)
	if err := create("removed"); fault.From(err).Reason != fault.CredentialExists {
		t.Errorf("before the purge, creating a credential with the same ID returned the error %v", err)
	}
	pass(59 * time.Minute)
	log.wantPurged(t)
	pass(time.Minute)
	log.wantPurged(t, "removed")
	for i, service := range services {
		// This caller may only view credentials of the provider, so the denial shows that the
		// replica does not know the credential's provider any more.
		if _, err := service.Get(t.Context(), management.Caller{Caller: access.Caller{Name: "uid:2"}, Config: loaded}, "removed"); fault.From(err).Reason != fault.AccessDenied {
			t.Errorf("replica %d has not forgotten the credential: %v", i, err)
		}
		listed, _, err := service.List(t.Context(), caller, management.Selection{ShowDeleted: true})
		if err != nil || len(listed) != 1 || listed[0].ID != "kept" {
			t.Errorf("replica %d lists %d credentials, want only the one that is not deleted; the error is %v", i, len(listed), err)
		}
	}
	pass(time.Hour)
	log.wantPurged(t, "removed")
	if err := create("removed"); err != nil {
		t.Errorf("after the purge, creating a credential with the same ID returned the error %v", err)
	}
}
