package store

import (
	"context"
	"time"
)

// migrateLimit is the longest time that migrations may take, including the migrations of another
// replica.
const migrateLimit = 2 * time.Minute

// migrate updates the schema to the newest version that this release knows. migrate does not change
// a newer schema, because each migration keeps the schema usable for the previous release.
func (s *Store) migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, migrateLimit)
	defer cancel()
	provider, err := s.driver.Migrations(s.log)
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return err
	}
	current, newest, err := provider.GetVersions(ctx)
	if err == nil && current > newest {
		s.log.Warn("a newer release has migrated the store: this release uses it, but cannot back it up", "schema", current, "newest_known", newest)
	}
	return err
}

// schema returns the version of the database's schema, and the newest version that this release
// knows. The schema of an empty database has the version 0.
func (s *Store) schema(ctx context.Context) (current, newest int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, migrateLimit)
	defer cancel()
	provider, err := s.driver.Migrations(s.log)
	if err != nil {
		return 0, 0, err
	}
	return provider.GetVersions(ctx)
}
