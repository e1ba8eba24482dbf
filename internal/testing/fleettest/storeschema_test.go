package fleettest_test

import (
	"testing"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// laterSchema is a migration as a later release may make it: it only adds to the schema.
var laterSchema = []string{
	`ALTER TABLE credentials ADD COLUMN later TEXT NOT NULL DEFAULT 'new'`,
	`ALTER TABLE versions ADD COLUMN later BIGINT NOT NULL DEFAULT 7`,
	`ALTER TABLE events ADD COLUMN later TEXT`,
	`CREATE TABLE later (id TEXT PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE)`,
	`CREATE INDEX later_credentials ON credentials (later)`,
	`UPDATE credentials SET later = 'kept' WHERE id = 'managed-00'`,
	`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`,
}

// During a rolling upgrade, a later release migrates the schema while brokers of this release still
// serve and make changes, and may even restart. The brokers of this release do not lose what the
// later release stores.
func TestStoreHasALaterSchema(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	connection := m.postgres.Connect(t, m.database)
	for _, statement := range laterSchema {
		if _, err := connection.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for n := range len(m.credentials) {
		m.rotate(n)
	}
	late := m.fleet.AddBroker()
	if _, err := late.Ready(); err != nil {
		t.Errorf("a broker that starts with the later schema is not ready: %v", err)
	}
	m.create("managed-late")
	for _, c := range m.credentials {
		if err := m.check(m.fleet.Ask(late, 0, c)); err != nil && c.ID != "managed-late" { // it may not have read the last one yet
			t.Errorf("%s: %v", c.ID, err)
		}
	}
	found, err := late.Manager(0).GetCredential(t.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: "managed-00"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.update(late, "managed-00", found.GetCredential().GetEtag(), "changed on the later schema"); err != nil {
		t.Errorf("a change with the later schema failed: %v", err)
	}
	var kept, added string
	if err := connection.QueryRow(t.Context(), `SELECT later, (SELECT later FROM credentials WHERE id = 'managed-late') FROM credentials WHERE id = 'managed-00'`).Scan(&kept, &added); err != nil {
		t.Fatal(err)
	}
	if kept != "kept" || added != "new" {
		t.Errorf("the column of the later release has the values %q and %q, want kept and new", kept, added)
	}
	m.ended()
}
