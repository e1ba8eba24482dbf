package management

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/store"
)

// purgeInterval is the time between two purges.
const purgeInterval = time.Hour

// Self is the name of the caller in audit records about what the broker does by
// itself. No real caller has this name.
const Self = "broker"

// purgeRegularly purges at once, and then at regular times until the context ends.
func (s *Service) purgeRegularly(ctx context.Context) {
	for ctx.Err() == nil {
		s.purge(ctx)
		timer := s.options.Clock.NewTimer(purgeInterval)
		select {
		case <-ctx.Done():
		case <-timer.Chan():
		}
		timer.Stop()
	}
}

// purge removes for good the credentials that were deleted more than Retention ago. All replicas
// call this function, but the store lets only one replica remove each credential. The other
// replicas only delete the credential from their snapshots.
func (s *Service) purge(ctx context.Context) {
	before := s.options.Clock.Now().Add(-Retention)
	for {
		ids, err := s.store().Purge(ctx, before)
		for _, id := range ids {
			s.recordPurge(ctx, id)
		}
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) {
				s.options.Logger.Error("deleted credentials could not be removed for good: the broker tries again in an hour", "problem", err)
			}
			return
		}
		if len(ids) == 0 {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, gone := s.snapshot.Load(), func(i *item) bool { return s.purged(&i.row.Credential) }
	if slices.ContainsFunc(known.items, gone) {
		s.snapshot.Store(&snapshot{revision: known.revision, items: slices.DeleteFunc(slices.Clone(known.items), gone)})
	}
}

func (s *Service) recordPurge(ctx context.Context, id string) {
	if s.options.Audit == nil {
		return
	}
	record := audit.Record{
		Caller: access.Caller{Name: Self, Method: "none"}, Operation: audit.PurgeCredential, Action: access.Manage,
		CredentialID: id, Outcome: "OK",
	}
	if err := s.options.Audit.Write(context.WithoutCancel(ctx), record); err != nil {
		s.options.Logger.Error("the audit record of a purged credential could not be written", "credential_id", id)
	}
}
