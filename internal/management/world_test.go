package management_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
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
	"github.com/authmaterial/broker/internal/testing/logtest"
)

// world is a database with its replicas, which share a clock and a log.
type world struct {
	*testing.T
	clock *clockwork.FakeClock
	log   *logtest.Log
	path  string
	key   string
}

// replica is the management.Service of one replica, with the credentials that it hands to its
// broker.
type replica struct {
	*management.Service
	world  *world
	config *config.Config
	store  *failing
	served *served
	audit  *auditLog

	verifier *verifier
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{
		T: t, clock: clockwork.NewFakeClockAt(time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)), log: new(logtest.Log),
		path: filepath.Join(t.TempDir(), "broker.db"), key: fleetkeys.Generate(),
	}
}

// acme is a provider whose field `name` is public, and whose field `token` is secret.
const acme = `
providers:
  - id: acme
    display_name: Acme
    allowed_hosts: [api.acme.test]
    auth_methods:
      - id: key
        display_name: Key
        fields:
          - {id: name, display_name: Name, secret: false}
          - {id: token, display_name: Token, required: true, secret: true}
        headers:
          - {name: x-name, value: "${name}"}
          - {name: x-token, value: "${token}"}
`

const grants = `
authentication: {tokens: [{name: admin, sha256: "ad5ed1e8e3dd1d0e1c4d7b9a9e9d1c4a7d5b1b5b3a3c9b1e4c0e1d8e9f0a1b2c"}]}
grants:
  - {callers: ["token:admin"], credentials: ["*"], actions: [manage]}
  - {callers: ["token:viewer"], credentials: ["*"], actions: [view]}
`

// parse parses a configuration that consists of the given text and a store.
func (w *world) parse(text string) *config.Config {
	w.Helper()
	text += fmt.Sprintf("\nstore: {url: %q, keys: [{env: KEY}], allowed_hosts: [eu.acme.test, us.acme.test]}\n", "sqlite://"+w.path)
	return w.parseAll(text)
}

func (w *world) parseAll(text string) *config.Config {
	w.Helper()
	loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: func(string) (string, bool) { return w.key, true }})
	if err != nil {
		w.Fatal(err)
	}
	return loaded
}

// replica starts a replica and reads the store.
func (w *world) replica(c *config.Config) *replica {
	w.Helper()
	return w.unopened(c).open()
}

// `open` opens the store of the replica, and reads it.
func (r *replica) open() *replica {
	w := r.world
	w.Helper()
	if err := r.Open(w.Context()); err != nil {
		w.Fatal(err)
	}
	r.sync()
	return r
}

// unopened starts a replica that has not opened the store yet.
func (w *world) unopened(c *config.Config) *replica {
	r := &replica{world: w, config: c, store: &failing{}, served: &served{credentials: map[string]*credentials.Credential{}}, audit: &auditLog{}, verifier: &verifier{}}
	options := management.Options{
		Config: c, Server: r.served, Audit: r.audit, Verifier: r.verifier, Clock: w.clock, Logger: slog.New(slog.NewTextHandler(w.log, nil)),
		Open: func(ctx context.Context) (management.Store, error) {
			driver, err := sqlite.Open(w.path)
			if err != nil {
				return nil, err
			}
			opened, err := store.Open(ctx, driver, store.Options{Keys: c.Store.Keys, Clock: w.clock})
			if err != nil {
				return nil, err
			}
			w.Cleanup(func() { _ = opened.Close() })
			r.store.Store = opened
			return r.store, nil
		},
	}
	r.Service = management.New(options)
	return r
}

func (r *replica) sync() {
	r.world.Helper()
	if err := r.Sync(r.world.Context()); err != nil {
		r.world.Fatal(err)
	}
}

// reload puts another configuration into use.
func (r *replica) reload(c *config.Config) {
	r.world.Helper()
	r.config = c
	err := r.Reload(c, func(managed []*credentials.Credential) error {
		r.served.replace(managed)
		return nil
	})
	if err != nil {
		r.world.Fatal(err)
	}
}

// `as` returns the caller that the static token with this name authenticates.
func (r *replica) as(name string) management.Caller {
	return management.Caller{Caller: access.Caller{Name: "token:" + name, Method: "token"}, Config: r.config}
}

func (r *replica) admin() management.Caller { return r.as("admin") }

func values(given map[string]string) (all []management.FieldValue) {
	for _, field := range slices.Sorted(maps.Keys(given)) {
		all = append(all, management.FieldValue{Field: field, Value: secret.New(given[field])})
	}
	return all
}

func newAcme(id, token string) management.NewCredential {
	return management.NewCredential{
		ID: id, DisplayName: "Acme", Provider: "acme", AuthMethod: "key", Values: values(map[string]string{"token": token}),
	}
}

// create creates a credential of the provider acme.
func (r *replica) create(id, token string) *management.Credential {
	r.world.Helper()
	return r.created(newAcme(id, token))
}

func (r *replica) created(n management.NewCredential) *management.Credential {
	r.world.Helper()
	made, err := r.Create(r.world.Context(), r.admin(), n)
	if err != nil {
		r.world.Fatalf("create %s: %v", n.ID, err)
	}
	return made
}

// addVersion adds a version to the credential `one`.
func (r *replica) addVersion(n management.NewVersion) (*management.Version, *management.Credential) {
	r.world.Helper()
	made, changed, err := r.CreateVersion(r.world.Context(), r.admin(), "one", n)
	if err != nil {
		r.world.Fatalf("adding a version failed: %v", err)
	}
	return made, changed
}

// `one` returns the credential `one`.
func (r *replica) one() *management.Credential {
	r.world.Helper()
	found, err := r.Get(r.world.Context(), r.admin(), "one")
	if err != nil {
		r.world.Fatalf("get: %v", err)
	}
	return found
}

// values returns the values that the broker would use.
func (r *replica) values(id string) map[string]string {
	r.world.Helper()
	c := r.served.get(id)
	if c == nil {
		r.world.Fatalf("%s is not served", id)
	}
	opened, err := c.Stored.Open()
	if err != nil {
		r.world.Fatal(err)
	}
	plain := map[string]string{}
	for field, value := range opened {
		plain[field] = value.Reveal()
	}
	return plain
}

func wantReason(t *testing.T, err error, want fault.Reason) {
	t.Helper()
	if known := fault.From(err); err == nil || known.Reason != want {
		t.Errorf("the error is %v (%s), want the reason %s", err, known.Reason, want)
	}
}

// `failing` is a store that can be made to fail or to hang.
type failing struct {
	management.Store
	mu     sync.Mutex
	before func(ctx context.Context, method string) error

	damaged bool // whether no values can be decrypted
}

// fail makes the store call a function before each of its methods.
func (f *failing) fail(before func(ctx context.Context, method string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

func (f *failing) check(ctx context.Context, method string) error {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, method)
}

func (f *failing) Revision(ctx context.Context) (int64, error) {
	if err := f.check(ctx, "Revision"); err != nil {
		return 0, err
	}
	return f.Store.Revision(ctx)
}

func (f *failing) Changes(ctx context.Context, after int64, yield func(*store.Row) error) (int64, error) {
	if err := f.check(ctx, "Changes"); err != nil {
		return 0, err
	}
	return f.Store.Changes(ctx, after, yield)
}

func (f *failing) Apply(ctx context.Context, change store.Change) (int64, error) {
	if err := f.check(ctx, "Apply"); err != nil {
		return 0, err
	}
	return f.Store.Apply(ctx, change)
}

// `served` implements management.Server. The methods that are not needed here panic.
type served struct {
	management.Server
	mu          sync.Mutex
	credentials map[string]*credentials.Credential
	accepted    []string // credential IDs and numbers of versions
}

func (s *served) Accepted(id string, version int, _ time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = append(s.accepted, fmt.Sprint(id, " ", version))
}

func (s *served) Manage(changed []*credentials.Credential, removed []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range changed {
		s.credentials[c.ID] = c
	}
	for _, id := range removed {
		delete(s.credentials, id)
	}
}

func (s *served) replace(all []*credentials.Credential) {
	s.mu.Lock()
	clear(s.credentials)
	s.mu.Unlock()
	s.Manage(all, nil)
}

func (s *served) get(id string) *credentials.Credential {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credentials[id]
}

func (s *served) State(string) (broker.State, time.Time) { return "", time.Time{} }
func (s *served) Status(string) (broker.Status, bool)    { return broker.Status{}, false }

// auditLog is an audit log in memory.
type auditLog struct {
	mu  sync.Mutex
	all []audit.Record
}

func (r *auditLog) Write(_ context.Context, record audit.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, record)
	return nil
}

func (r *auditLog) last() audit.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[len(r.all)-1]
}

// text returns a value of the given size in bytes.
func text(size int) secret.Text { return secret.New(strings.Repeat("x", size)) }
