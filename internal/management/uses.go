package management

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/store"
)

const (
	// saveInterval is how often the uses of credentials are stored.
	saveInterval = time.Minute
	// lastSave is the longest time that SaveUses takes.
	lastSave = time.Second
)

// CallerUse is how one caller used a credential.
type CallerUse struct {
	Caller string
	// LastUse is the time of the latest call, to the minute, and Version is the number of the version
	// that this call got, or 0 for a declared credential.
	LastUse time.Time
	Version int
	// Count is the number of calls at all replicas or, if there is no store or it cannot be
	// reached, the number of calls at this replica since Status.Collected.
	Count int64
}

// saveRegularly stores the uses of credentials at regular times until the context ends.
func (s *Service) saveRegularly(ctx context.Context) {
	for ctx.Err() == nil {
		timer := s.options.Clock.NewTimer(saveInterval)
		select {
		case <-ctx.Done():
		case <-timer.Chan():
			s.saveUses(ctx)
		}
		timer.Stop()
	}
}

// SaveUses stores the uses of credentials that Run has not stored yet. The process must call SaveUses
// after its last call ended, and before it closes the store.
func (s *Service) SaveUses() {
	if s.options.Open == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastSave)
	defer cancel()
	s.saveUses(ctx)
}

func (s *Service) saveUses(ctx context.Context) {
	err := s.options.Server.SaveUses(func(uses []broker.Use) error {
		rows := make([]store.Use, len(uses))
		for i, use := range uses {
			rows[i] = store.Use(use)
		}
		return s.store().RecordUses(ctx, rows)
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) {
		s.options.Logger.Warn("the latest uses of credentials cannot be stored: the broker tries again in a minute, unless it is stopping", "problem", err)
	}
}

// callersOf returns the callers of a credential, the most recent first. If the store can be read,
// the calls at all replicas count, and otherwise only those at this replica.
func (s *Service) callersOf(ctx context.Context, id string) ([]CallerUse, error) {
	uses, unsaved := s.options.Server.Uses(id)
	if s.options.Open == nil {
		return byCaller(uses), nil
	}
	stored, err := s.store().Uses(ctx, id)
	if errors.Is(err, store.ErrUnavailable) {
		return byCaller(uses), nil
	}
	for _, use := range stored {
		unsaved = append(unsaved, broker.Use(*use))
	}
	return byCaller(unsaved), err
}

// addLastUses sets the LastUse of credentials. If the store can be read, the calls at all replicas
// count, and otherwise only those at this replica.
func (s *Service) addLastUses(ctx context.Context, page []*Credential) error {
	stored := map[string]time.Time{}
	if s.options.Open != nil {
		ids := make([]string, len(page))
		for i, c := range page {
			ids[i] = c.ID
		}
		var err error
		if stored, err = s.store().LastUses(ctx, ids); err != nil && !errors.Is(err, store.ErrUnavailable) {
			return toFault(err)
		}
	}
	for _, c := range page {
		c.LastUse = stored[c.ID]
		if uses, _ := s.options.Server.Uses(c.ID); len(uses) > 0 && uses[0].Minute.After(c.LastUse) {
			c.LastUse = uses[0].Minute
		}
	}
	return nil
}

// byCaller adds up the uses of each caller, and returns those of the most recent callers.
func byCaller(uses []broker.Use) []CallerUse {
	callers := map[string]*CallerUse{}
	for _, use := range uses {
		of := callers[use.Caller]
		if of == nil {
			of = &CallerUse{Caller: use.Caller}
			callers[use.Caller] = of
		}
		of.Count += use.Count
		if later := use.Minute.Compare(of.LastUse); later > 0 || later == 0 && use.Version > of.Version {
			of.LastUse, of.Version = use.Minute, use.Version
		}
	}
	sorted := slices.SortedFunc(maps.Values(callers), func(a, b *CallerUse) int {
		return cmp.Or(b.LastUse.Compare(a.LastUse), strings.Compare(a.Caller, b.Caller))
	})
	var recent []CallerUse
	for _, of := range sorted[:min(store.UseLimit, len(sorted))] {
		recent = append(recent, *of)
	}
	return recent
}
