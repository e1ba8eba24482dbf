package management

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/broker"
)

// Replica describes the broker process: its release, its configuration and its token cache.
type Replica struct {
	Name              string // the host's name and a random suffix
	Version           string
	ConfigurationTime time.Time // when the configuration in use was loaded
	// Problems are the problems of the configuration file, if the last reload failed.
	Problems   []string
	TokenCache Dependency
}

// Dependency is the state of a server that the broker depends on.
type Dependency struct {
	Configured bool // false if the broker is configured to work without the server
	Available  bool
	// Explanation explains to people why the server is not available, and what follows from this.
	Explanation string
	// Staleness is the time since the broker last read all changes from the server, or 0 if it has
	// never read them.
	Staleness time.Duration
}

// Member is what each replica of a fleet reports to the other replicas.
type Member struct {
	Name, Version                   string
	StartTime, ConfigurationTime    time.Time
	Problems                        int // number of problems of the configuration file
	StoreConfigured, StoreAvailable bool
}

// FleetStatus is the state of the replica that answers the call, with a list of the replicas of the
// fleet.
type FleetStatus struct {
	Replica

	// Members contains the answering replica, and then up to maxMembers-1 others by name.
	Members       []Member
	MoreMembers   bool // the fleet has more replicas
	StartTime     time.Time
	Store         Dependency
	States        map[broker.State]int
	TokenRequests map[string]broker.Requests // by provider ID
	// Shadowed are up to maxShadowed IDs that belong to both a declared and a managed credential.
	Shadowed []string
}

const (
	maxMembers    = 100
	maxShadowed   = 100
	storeNotRead  = "The credential store cannot be reached, and has not been read since the start: calls for credentials that are not declared fail with STORE_UNAVAILABLE."
	storeWasRead  = "The credential store cannot be reached: the credentials that were read before stay in use, and changes fail with STORE_UNAVAILABLE."
	storeNotFirst = "The credential store has not been read yet."
)

// FleetStatus returns the state of this replica. The caller needs a grant for the action `operate`.
func (s *Service) FleetStatus(ctx context.Context, caller Caller) (status *FleetStatus, err error) {
	c := &call{caller: caller, operation: audit.GetFleetStatus, action: access.Operate}
	err = s.do(ctx, c, func() error {
		status = &FleetStatus{
			Replica: s.options.Replica(), StartTime: s.started, Store: s.Dependency(), States: s.States(),
			TokenRequests: s.options.Server.TokenRequests(),
		}
		status.Shadowed, _ = s.Shadowed(maxShadowed)
		status.Members, status.MoreMembers = s.members(ctx)
		return nil
	})
	return status, err
}

// Member returns what this replica reports to the other replicas.
func (s *Service) Member() Member {
	replica, store := s.options.Replica(), s.Dependency()
	return Member{
		Name: replica.Name, Version: replica.Version,
		StartTime: s.started, ConfigurationTime: replica.ConfigurationTime, Problems: len(replica.Problems),
		StoreConfigured: store.Configured, StoreAvailable: store.Available,
	}
}

func (s *Service) members(ctx context.Context) (all []Member, more bool) {
	self := s.Member()
	if s.options.Others != nil {
		all = slices.DeleteFunc(s.options.Others(ctx), func(m Member) bool { return m.Name == self.Name })
	}
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	all = slices.Insert(all, 0, self)
	return all[:min(len(all), maxMembers)], len(all) > maxMembers
}

// Dependency returns the state of the credential store.
func (s *Service) Dependency() Dependency {
	staleness, read := s.Staleness()
	d := Dependency{Configured: s.options.Open != nil}
	if !d.Configured {
		return d
	}
	if read {
		d.Staleness = staleness
	}
	failing := s.failing.Load()
	d.Available = read && !failing
	switch {
	case failing && read:
		d.Explanation = storeWasRead
	case failing:
		d.Explanation = storeNotRead
	case !read:
		d.Explanation = storeNotFirst
	}
	return d
}

// States returns the number of credentials in each state.
func (s *Service) States() map[broker.State]int {
	states := s.options.Server.States()
	for _, i := range s.snapshot.Load().items {
		if !i.row.Credential.DeleteTime.IsZero() && !s.purged(&i.row.Credential) {
			states[Deleted]++
		}
	}
	return states
}
