package management

import (
	"context"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

// Open opens the credential store. It does nothing if no store is configured, or if the store is
// open already. If Open returns store.ErrUnavailable, Run tries again.
func (s *Service) Open(ctx context.Context) error {
	if s.options.Open == nil || s.opened.Load() != nil {
		return nil
	}
	opened, err := s.options.Open(ctx)
	if err != nil {
		return err
	}
	s.opened.Store(&opened)
	if revision, err := opened.Revision(ctx); err == nil && revision == 0 && !s.options.Config.Store.GrantsAreNew {
		s.warnOfManagers()
	}
	return nil
}

// warnOfManagers logs the grants for the action `manage`: they may be older than the store, and had
// no effect without it.
func (s *Service) warnOfManagers() {
	managers := s.options.Config.Policy.GrantsOf(access.Manage)
	for _, grant := range managers[:min(len(managers), maxShown)] {
		s.options.Logger.Warn("the credential store is new: callers with this grant may manage its credentials",
			"grant", grant.Source, "callers", grant.Callers, "credentials", grant.Credentials, "providers", grant.Providers)
	}
	if more := len(managers) - maxShown; more > 0 {
		s.options.Logger.Warn("the credential store is new: grants that are not logged also let callers manage its credentials", "grants", more)
	}
}

// maxShown limits how many grants are logged.
const maxShown = 20

// store returns the credential store or, until it is open, a store whose methods fail.
func (s *Service) store() Store {
	if opened := s.opened.Load(); opened != nil {
		return *opened
	}
	return unopened{}
}

// `unopened` stands for a store that is not open yet.
type unopened struct{}

func (unopened) Revision(context.Context) (int64, error) { return 0, store.ErrUnavailable }

func (unopened) Changes(context.Context, int64, func(*store.Row) error) (int64, error) {
	return 0, store.ErrUnavailable
}

func (unopened) Listen(context.Context, func()) {}

func (unopened) Credential(context.Context, string) (*store.Credential, []*store.Version, error) {
	return nil, nil, store.ErrUnavailable
}

func (unopened) Version(context.Context, string, int) (*store.Version, error) {
	return nil, store.ErrUnavailable
}

func (unopened) Events(context.Context, string, int64, int) ([]*store.Event, error) {
	return nil, store.ErrUnavailable
}

func (unopened) Request(context.Context, store.RequestKey) ([]byte, bool, error) {
	return nil, false, store.ErrUnavailable
}

func (unopened) Apply(context.Context, store.Change) (int64, error) { return 0, store.ErrUnavailable }

func (unopened) Record(context.Context, *store.Event, *store.Verification) error {
	return store.ErrUnavailable
}

func (unopened) Purge(context.Context, time.Time) ([]string, error) {
	return nil, store.ErrUnavailable
}

func (unopened) Values(*store.Credential, *store.Version) (map[string]secret.Text, error) {
	return nil, store.ErrUnavailable
}

func (unopened) RecordUses(context.Context, []store.Use) error { return store.ErrUnavailable }

func (unopened) Uses(context.Context, string) ([]*store.Use, error) { return nil, store.ErrUnavailable }

func (unopened) LastUses(context.Context, []string) (map[string]time.Time, error) {
	return nil, store.ErrUnavailable
}

func (unopened) Fingerprint(...secret.Text) []byte { return nil }
