package management

import (
	"context"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/broker"
)

// Replica describes the broker process: its release, its configuration and its token cache.
type Replica struct {
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

// FleetStatus is the state of the replica that answers the call.
type FleetStatus struct {
	Replica

	StartTime     time.Time
	Store         Dependency
	States        map[broker.State]int
	TokenRequests map[string]broker.Requests // by provider ID
	// Shadowed are up to maxShadowed IDs that belong to both a declared and a managed credential.
	Shadowed []string
}

const (
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
		return nil
	})
	return status, err
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
