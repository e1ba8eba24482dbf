package management

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/store"
)

// Deleted is the state of a deleted credential. Package broker defines the other states.
const Deleted broker.State = "DELETED"

const (
	isDeleted   = "The credential is deleted: callers get CREDENTIAL_NOT_FOUND. It can be restored within 30 days of its deletion."
	isNotServed = "The setting store.id_patterns allows no managed credential with this ID: callers get CREDENTIAL_NOT_FOUND."
)

// Status is what this replica knows about a credential.
type Status struct {
	broker.Status
	// Collected is when this replica began to collect the status.
	Collected time.Time
	// ActivateTime is when the active version was activated, or zero for a declared credential.
	ActivateTime time.Time
	// Verification is the result of the latest verification of the active version, or nil.
	Verification *store.Verification
	// Callers are the callers that used the credential most recently, the latest first.
	Callers []CallerUse
	// Usage is which versions of the material callers were sent, and which they use.
	Usage broker.Usage
}

// State returns the state of a credential at this replica, and since when the credential has this
// state.
func (s *Service) State(c *Credential) (state broker.State, since time.Time) {
	if c.Deleted() {
		return Deleted, c.DeleteTime
	}
	state, since = s.options.Server.State(c.ID)
	switch {
	case state == "":
		return broker.Unavailable, s.began(c)
	case since.IsZero():
		return state, s.began(c)
	case since.Before(c.CreateTime): // the token of other credentials with the same values
		return state, c.CreateTime
	}
	return state, since
}

// `began` returns when this replica learned of the credential in its present form, at the earliest
// its own start.
func (s *Service) began(c *Credential) time.Time {
	if c.UpdateTime.After(s.started) {
		return c.UpdateTime
	}
	return s.started
}

// Status returns a credential and its status.
func (s *Service) Status(ctx context.Context, caller Caller, id string) (found *Credential, status *Status, err error) {
	c := &call{caller: caller, operation: audit.GetStatus, action: access.View, id: id}
	err = s.do(ctx, c, func() error {
		if found, err = s.known(caller.Config, id); err != nil {
			return err
		}
		status, err = s.statusOf(ctx, found)
		return err
	})
	return found, status, err
}

func (s *Service) statusOf(ctx context.Context, c *Credential) (*Status, error) {
	status := &Status{Collected: s.started, Usage: s.options.Server.Usage(ctx, c.ID)}
	served, known := s.options.Server.Status(c.ID)
	switch {
	case c.Deleted():
		status.Explanation = isDeleted
	case known:
		status.Status = served
	default:
		status.Explanation = isNotServed
	}
	status.State, status.Since = s.State(c)
	var err error
	if status.Callers, err = s.callersOf(ctx, c.ID); err != nil {
		return nil, err
	}
	if c.Declared {
		return status, nil
	}
	item := s.snapshot.Load().get(c.ID)
	if item == nil {
		return nil, errMissing // an older state of the store was restored during this call
	}
	active := item.row.Active
	status.Active.Version = active.Number
	status.ActivateTime, status.Verification = active.ActivateTime, active.Verification
	_, versions, err := s.store().Credential(ctx, c.ID)
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
		return status, nil // the snapshot lacks only the latest verification
	}
	for _, v := range versions {
		if v.Number == active.Number {
			status.Verification = v.Verification
		}
	}
	return status, err
}
