package management

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
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
	// pollInterval is the time between two reads of the store's revision.
	pollInterval = 500 * time.Millisecond
	// maxPollDelay is the longest time between two attempts to read the store while it cannot be
	// reached.
	maxPollDelay = 5 * time.Second
	// Retention is how long a deleted credential can be restored.
	Retention = 30 * 24 * time.Hour
)

// snapshot is an immutable copy of the state of the store that this replica has read.
type snapshot struct {
	revision int64   // the revision of the store; 0 if the store was not read yet
	items    []*item // sorted by credential ID; includes deleted credentials
}

// item is a managed credential.
type item struct {
	row *store.Row
	// `served` is the credential for package broker, or nil if it is deleted.
	served *credentials.Credential
}

func (i *item) id() string { return i.row.Credential.ID }

// search returns the position of an ID in the snapshot, and whether the snapshot contains the ID.
func (s *snapshot) search(id string) (int, bool) {
	return slices.BinarySearchFunc(s.items, id, func(i *item, id string) int { return strings.Compare(i.id(), id) })
}

func (s *snapshot) get(id string) *item {
	if at, found := s.search(id); found {
		return s.items[at]
	}
	return nil
}

// `with` returns a copy of the snapshot in which the given items replace those with the same IDs.
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

// Run keeps the snapshot current, stores the uses of credentials, and warns of secrets that expire,
// until the context ends.
func (s *Service) Run(ctx context.Context) {
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { s.warnOfExpiry(ctx) })
	if s.options.Open == nil {
		return
	}
	changed := make(chan struct{}, 1)
	background.Go(func() { s.saveRegularly(ctx) })
	background.Go(func() { s.purgeRegularly(ctx) })
	wait, listens, logged := pollInterval, false, map[string]bool{}
	for ctx.Err() == nil {
		err := s.Open(ctx)
		if err == nil && !listens {
			listens = true
			background.Go(func() { s.store().Listen(ctx, func() { notify(changed) }) })
		}
		if err == nil {
			err = s.Sync(ctx)
		}
		if ctx.Err() == nil {
			s.logOutage(err, logged)
		}
		s.failing.Store(err != nil)
		wait = min(2*wait, maxPollDelay)
		if err == nil {
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

// logOutage logs each reason why the store cannot be read once during an outage, and the end of the
// outage. The parameter `logged` has the reasons that were logged during this outage. Two reasons that
// differ only in digits, such as the port of a connection, count as one.
func (s *Service) logOutage(err error, logged map[string]bool) {
	if err == nil {
		if len(logged) > 0 {
			s.options.Logger.Info("the credential store can be read again")
		}
		clear(logged)
		return
	}
	reason := digits.ReplaceAllString(err.Error(), "0")
	if !logged[reason] {
		logged[reason] = true
		s.options.Logger.Error("the credential store cannot be read: the credentials that were read before stay in use", "problem", err)
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

// notify puts an element into a channel, unless the channel has one already.
func notify(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// Sync reads the changes of the store, and hands them to the Server.
func (s *Service) Sync(ctx context.Context) error { return s.syncTo(ctx, math.MaxInt64) }

// syncTo is like Sync, but does nothing if the snapshot contains the change with this revision
// already. Only one call at a time reads the store. It holds no lock meanwhile, so that a store
// which does not answer delays only calls of syncTo.
func (s *Service) syncTo(ctx context.Context, revision int64) error {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	began, known := s.options.Clock.Now(), s.snapshot.Load().revision
	if known >= revision {
		return nil
	}
	current, err := s.store().Revision(ctx)
	switch {
	case err != nil:
		return err
	case current == known && s.synced.Load() != 0:
		s.synced.Store(began.UnixNano())
		return nil
	case current < known: // an older state of the database was restored
		known = 0
	}
	rows, current, err := s.changes(ctx, known)
	if err == nil && current < known {
		known = 0
		rows, current, err = s.changes(ctx, known)
	}
	if err != nil {
		return err
	}
	s.publish(rows, current, known == 0, began)
	return nil
}

// Loaded returns a channel that is closed when the store has been read for the first time.
func (s *Service) Loaded() <-chan struct{} { return s.loaded }

func (s *Service) changes(ctx context.Context, after int64) (rows []*store.Row, revision int64, err error) {
	revision, err = s.store().Changes(ctx, after, func(row *store.Row) error {
		if row.Active == nil {
			s.options.Logger.Error("a credential in the store has no active version: it is not served", "credential_id", row.Credential.ID)
			return nil
		}
		rows = append(rows, row)
		return nil
	})
	return rows, revision, err
}

// publish puts rows into the snapshot, and hands them to the Server. If `all` is true, the rows
// replace all earlier ones. The rows were read at the given time or later.
func (s *Service) publish(rows []*store.Row, revision int64, all bool, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.snapshot.Load()
	var changed []*item
	var served []*credentials.Credential
	var removed []string
	for _, row := range rows {
		i := s.item(row, s.config)
		changed = append(changed, i)
		if i.served != nil {
			served = append(served, i.served)
		} else {
			removed = append(removed, i.id())
		}
		s.noteCollision(i)
	}
	base, gone := known, []*item(nil)
	if all {
		base, gone = &snapshot{}, known.items
	}
	next := base.with(revision, changed)
	for _, old := range gone {
		if next.get(old.id()) == nil {
			removed = append(removed, old.id())
			delete(s.shadowed, old.id())
		}
	}
	s.snapshot.Store(next)
	s.options.Server.Manage(served, removed)
	for _, i := range changed {
		s.noteAccepted(i)
	}
	if s.synced.Swap(at.UnixNano()) == 0 {
		close(s.loaded)
	}
}

// noteAccepted tells the Server which versions of a credential the provider has accepted at any
// replica.
func (s *Service) noteAccepted(i *item) {
	if i.served == nil {
		return
	}
	for _, v := range []*store.Version{i.row.Active, i.row.Canary} {
		if v != nil && v.Verification != nil && v.Verification.Outcome == string(catalog.Accepted) {
			s.options.Server.Accepted(i.id(), v.Number, v.Verification.Time)
		}
	}
}

// Reload replaces the configuration. It calls the function `use`, which puts the new configuration
// into use, with all managed credentials as they are under this configuration.
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

// Shadowed returns up to `limit` sorted IDs that are both declared and managed, and the number of
// all such IDs.
func (s *Service) Shadowed(limit int) (ids []string, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.shadowed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids[:min(limit, len(ids))], len(s.shadowed)
}

// item makes an item from a row of the store and a configuration.
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

// manages reports whether a configuration allows a managed credential to have this ID.
func manages(c *config.Config, id string) bool {
	return c.Store != nil && slices.ContainsFunc(c.Store.IDPatterns, func(p access.Pattern) bool { return p.Matches(id) })
}

// version converts a version to a credential for package broker.
func (s *Service) version(stored *store.Credential, v *store.Version, c *config.Config) *credentials.Credential {
	provider, method, err := definition(c.Catalog, stored.Provider, stored.AuthMethod)
	hosts, hostErr := provider.Hosts(v.PublicValues, addedHosts(c, provider, v))
	if err == nil {
		err = hostErr
	}
	problem := ""
	if err != nil {
		problem = "The credential cannot be used: " + err.Error() + "."
	}
	return &credentials.Credential{
		ID: stored.ID, DisplayName: stored.DisplayName, Description: stored.Description, Labels: stored.Labels,
		Disabled: stored.Disabled, KeepWarm: stored.KeepWarm, SecretExpireTime: stored.SecretExpireTime,
		Provider: provider, Method: method, AllowedHosts: hosts,
		Stored: &credentials.Stored{Number: v.Number, ID: v.ID, Problem: problem, Open: func() (map[string]secret.Text, error) {
			if err != nil {
				return nil, err
			}
			return s.values(stored, v)
		}},
	}
}

// definition returns a provider and its auth method. If the provider or the auth method is not
// defined any more, the result has only its ID, and an error is returned. An error is also returned
// if the provider definition no longer states which fields are secret.
func definition(all *catalog.Catalog, providerID, methodID string) (*catalog.Provider, *catalog.AuthMethod, error) {
	provider := all.Provider(providerID)
	if provider == nil {
		return &catalog.Provider{ID: providerID}, &catalog.AuthMethod{ID: methodID}, fmt.Errorf("the provider %q is not defined any more: define it in 'providers' or 'providers_directory' of the broker's configuration", providerID)
	}
	method := provider.AuthMethod(methodID)
	if method == nil {
		return provider, &catalog.AuthMethod{ID: methodID}, fmt.Errorf(
			"the provider %q has no auth method %q any more: define it again, or delete the credential", providerID, methodID)
	}
	if fields := method.UnclassifiedFields(); fields != nil {
		return provider, method, fmt.Errorf("the definition of the provider %q does not state whether these fields are secret: %s: set 'secret' of each to true or false",
			providerID, strings.Join(fields, ", "))
	}
	return provider, method, nil
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
