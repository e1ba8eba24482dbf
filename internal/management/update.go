package management

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/store"
)

// Update has new values for those fields of a credential that Mask names.
type Update struct {
	DisplayName      string
	Description      string
	Labels           map[string]string
	Disabled         bool
	KeepWarm         bool
	SecretExpireTime time.Time
	// Mask contains the names of the fields to change, as in the proto message Credential.
	Mask []string
}

// Update changes the names, labels and settings of a managed credential, but none of its versions.
func (s *Service) Update(ctx context.Context, caller Caller, id, etag string, update Update) (*Credential, error) {
	c := &call{caller: caller, operation: audit.UpdateCredential, action: access.Manage, id: id}
	return s.change(ctx, c, etag, func(row *store.Credential, _ []*store.Version, _ *store.Change) error {
		var problems violations
		if len(update.Mask) == 0 {
			problems.add("update_mask", "must name at least one field")
		}
		for _, field := range update.Mask {
			switch field {
			case "display_name":
				row.DisplayName = update.DisplayName
			case "description":
				row.Description = update.Description
			case "labels":
				row.Labels = update.Labels
			case "disabled":
				row.Disabled = update.Disabled
			case "keep_warm":
				row.KeepWarm = update.KeepWarm
			case "secret_expire_time":
				row.SecretExpireTime = update.SecretExpireTime
			default:
				problems.add("update_mask", fmt.Sprintf("%q cannot be changed: "+
					"values and hosts belong to versions, and all other fields are fixed", clip(field)))
			}
		}
		checkTexts(row, &problems)
		if err := problems.err(); err != nil {
			return err
		}
		c.fields = slices.Compact(slices.Sorted(slices.Values(update.Mask)))
		return nil
	})
}

// Delete deletes a managed credential. It also deletes a managed credential that is hidden by a
// declared one with the same ID.
func (s *Service) Delete(ctx context.Context, caller Caller, id, etag string) (*Credential, error) {
	c := &call{caller: caller, operation: audit.DeleteCredential, action: access.Manage, id: id}
	return s.change(ctx, c, etag, func(row *store.Credential, _ []*store.Version, _ *store.Change) error {
		row.DeleteTime = s.options.Clock.Now()
		return nil
	})
}

// Undelete restores a deleted credential. Undelete changes nothing if the credential has not been
// deleted.
func (s *Service) Undelete(ctx context.Context, caller Caller, id string) (restored *Credential, err error) {
	c := &call{caller: caller, operation: audit.UndeleteCredential, action: access.Manage, id: id}
	err = s.do(ctx, c, func() error {
		row, _, err := s.read(ctx, c)
		if err != nil {
			return err
		}
		if row.DeleteTime.IsZero() {
			restored = s.view(caller.Config, id)
			return nil
		}
		row.DeleteTime = time.Time{}
		restored, err = s.apply(ctx, c, store.Change{Credential: row})
		return err
	})
	return restored, err
}

// change runs a call that changes a managed credential which is not deleted. The function `edit`
// changes the row of the credential, and may add other parts to the change.
func (s *Service) change(
	ctx context.Context, c *call, etag string, edit func(row *store.Credential, versions []*store.Version, change *store.Change) error,
) (changed *Credential, err error) {
	err = s.do(ctx, c, func() error {
		row, versions, err := s.readFor(ctx, c, etag)
		if err != nil {
			return err
		}
		change := store.Change{Credential: row}
		if err := edit(row, versions, &change); err != nil {
			return err
		}
		changed, err = s.apply(ctx, c, change)
		return err
	})
	return changed, err
}

// readFor reads a credential that is to be changed, and compares its etag with the given one.
func (s *Service) readFor(ctx context.Context, c *call, given string) (*store.Credential, []*store.Version, error) {
	row, versions, err := s.read(ctx, c)
	switch {
	case err != nil:
		return nil, nil, err
	case !row.DeleteTime.IsZero():
		return nil, nil, errMissing
	case given == "":
		return nil, nil, invalid("etag", "is required: use the etag of the credential")
	case given != etag(row.Revision):
		return nil, nil, errChanged
	}
	return row, versions, nil
}

// read reads a managed credential and its versions. A declared credential cannot be changed, but a
// managed credential with the same ID can be deleted.
func (s *Service) read(ctx context.Context, c *call) (*store.Credential, []*store.Version, error) {
	declared := c.caller.Config.Credentials.Get(c.id) != nil
	if declared && (c.operation != audit.DeleteCredential || s.options.Open == nil) {
		return nil, nil, errDeclared
	}
	if s.options.Open == nil {
		return nil, nil, errNoStore
	}
	row, versions, err := s.store().Credential(ctx, c.id)
	switch {
	case declared && errors.Is(err, store.ErrNotFound):
		return nil, nil, errDeclared
	case err == nil && s.purged(row):
		return nil, nil, errMissing
	}
	return row, versions, err
}
