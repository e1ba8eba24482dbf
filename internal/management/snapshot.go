package management

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

const (
	// pollInterval is the time between two looks at the revision of the store.
	pollInterval = 500 * time.Millisecond
	// maxPollDelay is the longest time between two attempts while the store cannot be reached.
	maxPollDelay = 5 * time.Second
	// Retention is how long a deleted credential can be restored.
	Retention = 30 * 24 * time.Hour
)

// snapshot is what this replica knows of the store. It is immutable.
type snapshot struct {
	revision int64   // the revision of the store; 0 if the store was not read yet
	items    []*item // sorted by credential ID; includes deleted credentials
}

// item is a managed credential.
type item struct {
	row *store.Row
	// served is the credential for package broker, or nil if it is deleted.
	served *credentials.Credential
}

func (i *item) id() string { return i.row.Credential.ID }

// search returns the position of an ID in the snapshot, and whether it is there.
func (s *snapshot) search(id string) (int, bool) {
	return slices.BinarySearchFunc(s.items, id, func(i *item, id string) int { return strings.Compare(i.id(), id) })
}

func (s *snapshot) get(id string) *item {
	if at, found := s.search(id); found {
		return s.items[at]
	}
	return nil
}

// with returns a snapshot in which the items passed replace those with the same IDs.
func (s *snapshot) with(revision int64, changed []*item) *snapshot {
	byID := func(a, b *item) int { return strings.Compare(a.id(), b.id()) }
	slices.SortFunc(changed, byID)
	next := &snapshot{revision: revision, items: make([]*item, 0, len(s.items)+len(changed))}
	rest := s.items
	for _, i := range changed {
		at, found := (&snapshot{items: rest}).search(i.id())
		next.items = append(append(next.items, rest[:at]...), i)
		if found {
			at++
		}
		rest = rest[at:]
	}
	next.items = append(next.items, rest...)
	return next
}

// Run keeps the snapshot current until the context ends. It returns at once if there is no store.
func (s *Service) Run(ctx context.Context) {
	if s.options.Open == nil {
		return
	}
	changed := make(chan struct{}, 1)
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { s.saveUses(ctx) })
	background.Go(func() { s.purgeRegularly(ctx) })
	wait, failing, listens := pollInterval, false, false
	for ctx.Err() == nil {
		err := s.Open(ctx)
		if err == nil && !listens {
			listens = true
			background.Go(func() { s.store().Listen(ctx, func() { notify(changed) }) })
		}
		if err == nil {
			err = s.Sync(ctx)
		}
		switch {
		case err == nil && failing:
			s.options.Logger.Info("the credential store can be read again")
		case err != nil && !failing && ctx.Err() == nil:
			s.options.Logger.Error("the credential store cannot be read: the credentials that were read before stay in use", "problem", err)
		}
		failing = err != nil
		wait = min(2*wait, maxPollDelay)
		if !failing {
			wait = pollInterval
		}
		timer := s.options.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.Chan():
		}
		timer.Stop()
	}
}

// notify puts an element into a channel, unless there is one already.
func notify(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// Sync reads the changes of the store, and hands them to the Server.
func (s *Service) Sync(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sync(ctx)
}

// syncTo is Sync, unless the snapshot contains a change with this revision already.
func (s *Service) syncTo(ctx context.Context, revision int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshot.Load().revision >= revision {
		return nil
	}
	return s.sync(ctx)
}

// sync does the work of Sync. The caller must hold mu.
func (s *Service) sync(ctx context.Context) error {
	now, known := s.options.Clock.Now(), s.snapshot.Load()
	revision, err := s.store().Revision(ctx)
	if err != nil {
		return err
	}
	if revision == known.revision && s.synced.Load() != 0 {
		s.synced.Store(now.UnixNano())
		return nil
	}
	after := known.revision
	if revision < after { // an older state of the database was restored
		after, known = 0, &snapshot{}
	}
	var changed []*item
	revision, err = s.store().Changes(ctx, after, func(row *store.Row) error {
		changed = append(changed, s.item(row, s.config))
		return nil
	})
	if err != nil {
		return err
	}
	s.use(known.with(revision, changed), changed)
	if s.synced.Swap(now.UnixNano()) == 0 {
		close(s.loaded)
	}
	return nil
}

// Loaded returns a channel that is closed when the store has been read for the first time.
func (s *Service) Loaded() <-chan struct{} { return s.loaded }

// use replaces the snapshot, and hands the changed items to the Server. The caller must hold mu.
func (s *Service) use(next *snapshot, changed []*item) {
	var served []*credentials.Credential
	var removed []string
	for _, i := range changed {
		if i.served != nil {
			served = append(served, i.served)
		} else {
			removed = append(removed, i.id())
		}
		s.noteCollision(i)
	}
	for _, old := range s.snapshot.Load().items {
		if next.revision < s.snapshot.Load().revision && next.get(old.id()) == nil {
			removed = append(removed, old.id())
		}
	}
	s.snapshot.Store(next)
	s.options.Server.Manage(served, removed)
}

// Reload calls a function that puts another configuration into use, with all managed credentials
// as they are under this configuration.
func (s *Service) Reload(next *config.Config, use func(managed []*credentials.Credential) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.snapshot.Load()
	items := make([]*item, len(known.items))
	var managed []*credentials.Credential
	if s.synced.Load() != 0 {
		managed = []*credentials.Credential{}
	}
	for n, i := range known.items {
		items[n] = s.item(i.row, next)
		if items[n].served != nil {
			managed = append(managed, items[n].served)
		}
	}
	if err := use(managed); err != nil {
		return err
	}
	s.config = next
	s.snapshot.Store(&snapshot{revision: known.revision, items: items})
	clear(s.shadowed)
	for _, i := range items {
		s.noteCollision(i)
	}
	return nil
}

// noteCollision logs once that an ID is both declared and managed. The caller must hold mu.
func (s *Service) noteCollision(i *item) {
	if i.served == nil || s.config.Credentials.Get(i.id()) == nil {
		delete(s.shadowed, i.id())
		return
	}
	if !s.shadowed[i.id()] {
		s.options.Logger.Error("a credential is both declared and managed: the declared one is served", "credential_id", i.id())
	}
	s.shadowed[i.id()] = true
}

// Shadowed returns the sorted IDs that are both declared and managed, at most `limit` of them, and
// their number.
func (s *Service) Shadowed(limit int) (ids []string, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.shadowed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids[:min(limit, len(ids))], len(s.shadowed)
}

// item makes the item of a row under a configuration.
func (s *Service) item(row *store.Row, c *config.Config) *item {
	if !row.Credential.DeleteTime.IsZero() || !manages(c, row.Credential.ID) {
		return &item{row: row}
	}
	served := s.version(&row.Credential, row.Active, c)
	if row.Canary != nil {
		var callers []access.Pattern
		for _, pattern := range row.Credential.CanaryCallers {
			callers = append(callers, access.Pattern(pattern))
		}
		served.Canary = &credentials.Canary{Callers: callers, Credential: s.version(&row.Credential, row.Canary, c)}
	}
	return &item{row: row, served: served}
}

// manages reports whether a configuration allows a managed credential to have an ID.
func manages(c *config.Config, id string) bool {
	return c.Store != nil && slices.ContainsFunc(c.Store.IDPatterns, func(p access.Pattern) bool { return p.Matches(id) })
}

// version makes the credential of a version. If the provider or the auth method is not defined any
// more, opening the values fails.
func (s *Service) version(stored *store.Credential, v *store.Version, c *config.Config) *credentials.Credential {
	provider, method, err := definition(c.Catalog, stored.Provider, stored.AuthMethod)
	hosts := slices.Clip(provider.AllowedHosts)
	for _, host := range v.AllowedHosts {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return &credentials.Credential{
		ID: stored.ID, DisplayName: stored.DisplayName, Description: stored.Description, Labels: stored.Labels,
		Disabled: stored.Disabled, KeepWarm: stored.KeepWarm, SecretExpireTime: stored.SecretExpireTime,
		Provider: provider, Method: method, AllowedHosts: hosts,
		Stored: &credentials.Stored{Number: v.Number, ID: v.ID, Open: func() (map[string]secret.Text, error) {
			if err != nil {
				return nil, err
			}
			return s.values(stored, v)
		}},
	}
}

// definition returns a provider and its auth method. After an error, they have only their IDs.
func definition(all *catalog.Catalog, providerID, methodID string) (*catalog.Provider, *catalog.AuthMethod, error) {
	provider := all.Provider(providerID)
	if provider == nil {
		return &catalog.Provider{ID: providerID}, &catalog.AuthMethod{ID: methodID}, fmt.Errorf("the provider %q is not defined any more", providerID)
	}
	if method := provider.AuthMethod(methodID); method != nil {
		return provider, method, nil
	}
	return provider, &catalog.AuthMethod{ID: methodID}, fmt.Errorf("the provider %q has no auth method %q any more", providerID, methodID)
}

// values returns the values of all fields of a version.
func (s *Service) values(stored *store.Credential, v *store.Version) (map[string]secret.Text, error) {
	values, err := s.store().Values(stored, v)
	if err != nil {
		return nil, err
	}
	for field, value := range v.PublicValues {
		values[field] = secret.New(value)
	}
	return values, nil
}

// Staleness returns how long ago the snapshot was last found to be current, and false if the store
// was not read yet.
func (s *Service) Staleness() (time.Duration, bool) {
	at := s.synced.Load()
	return s.options.Clock.Since(time.Unix(0, cmp.Or(at, 1))), at != 0
}
