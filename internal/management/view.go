package management

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/store"
)

// Credential is a declared or managed credential, as the management API shows it.
type Credential struct {
	// The embedded Credential contains the ID, the names and other properties. For a declared
	// credential, its active version, CreateTime, UpdateTime, DeleteTime and revision are zero.
	store.Credential
	Declared bool
	// Shadowed is true for a declared credential if the store has a credential with the same ID.
	Shadowed bool
	// PublicValues are the values of the fields that are not secret.
	PublicValues map[string]string
	// SecretFields are the sorted IDs of the secret fields that have a value.
	SecretFields []string
	// AllowedHosts are the hosts of the provider and of the active version.
	AllowedHosts []string
	// ActivateTime is when the active version was activated. It is zero for a declared credential.
	ActivateTime time.Time
	// LastUse is the minute of the latest use. Only Selection.ShowLastUse sets LastUse.
	LastUse time.Time
	// ETag identifies the state of a managed credential. For a declared credential, it is the etag
	// of the managed credential with the same ID, or empty if there is none.
	ETag string
}

// size returns the approximate size of the credential's texts in bytes.
func (c *Credential) size() int {
	size := len(c.ID) + len(c.DisplayName) + len(c.Description)
	for _, texts := range []map[string]string{c.Labels, c.PublicValues} {
		for key, value := range texts {
			size += len(key) + len(value)
		}
	}
	for _, text := range slices.Concat(c.AllowedHosts, c.CanaryCallers, c.SecretFields) {
		size += len(text)
	}
	return size
}

// Deleted reports whether the credential is deleted.
func (c *Credential) Deleted() bool { return !c.DeleteTime.IsZero() }

func etag(revision int64) string { return strconv.FormatInt(revision, 36) }

// declaredView returns the view of a declared credential. If a managed credential has the same ID,
// it is not served, and is the parameter `hidden`; otherwise `hidden` is nil.
func declaredView(c *credentials.Credential, hidden *item) *Credential {
	view := &Credential{
		Credential: store.Credential{
			ID: c.ID, DisplayName: cmp.Or(c.DisplayName, c.ID), Description: c.Description, Labels: c.Labels,
			Provider: c.Provider.ID, AuthMethod: c.Method.ID, Disabled: c.Disabled,
			KeepWarm: c.KeepWarm, SecretExpireTime: c.SecretExpireTime,
		},
		Declared: true, AllowedHosts: c.AllowedHosts, PublicValues: map[string]string{},
	}
	for id, value := range c.Values {
		field := c.Method.Field(id)
		if field.SecretStated && !field.Secret {
			view.PublicValues[id] = value.Reveal()
		} else {
			view.SecretFields = append(view.SecretFields, id)
		}
	}
	slices.Sort(view.SecretFields)
	if hidden != nil && hidden.row.Credential.DeleteTime.IsZero() {
		view.Shadowed, view.ETag = true, etag(hidden.row.Credential.Revision)
	}
	return view
}

// managedView returns the view of a managed credential with this active version.
func managedView(c *store.Credential, active *store.Version, by *config.Config) *Credential {
	provider, method, _ := definition(by.Catalog, c.Provider, c.AuthMethod)
	hosts, _ := provider.Hosts(active.PublicValues, addedHosts(by, provider, active)) // the state of the credential explains the error
	view := &Credential{Credential: *c, AllowedHosts: hosts, ActivateTime: active.ActivateTime, ETag: etag(c.Revision)}
	view.PublicValues, view.SecretFields = shown(active, method)
	return view
}

// `shown` returns the values of a version that may be shown, and the IDs of its other fields. A value
// that was stored as public is only shown if the present definition states that its field is not
// secret.
func shown(v *store.Version, method *catalog.AuthMethod) (public map[string]string, others []string) {
	public, others = map[string]string{}, slices.Clone(v.SecretFields)
	for id, value := range v.PublicValues {
		if field := method.Field(id); field != nil && field.SecretStated && !field.Secret {
			public[id] = value
		} else {
			others = append(others, id)
		}
	}
	slices.Sort(others)
	return public, others
}

// view returns a credential as this replica knows it, or nil.
func (s *Service) view(c *config.Config, id string) *Credential {
	hidden := s.snapshot.Load().get(id)
	if declared := c.Credentials.Get(id); declared != nil {
		return declaredView(declared, hidden)
	}
	if hidden == nil || s.purged(&hidden.row.Credential) {
		return nil
	}
	return managedView(&hidden.row.Credential, hidden.row.Active, c)
}

// `purged` reports whether a credential was deleted more than Retention ago, so that callers cannot
// see it any more.
func (s *Service) purged(c *store.Credential) bool {
	return !c.DeleteTime.IsZero() && s.options.Clock.Now().Sub(c.DeleteTime) > Retention
}

// `known` is like view, but returns an error if there is no credential with this ID.
func (s *Service) known(c *config.Config, id string) (*Credential, error) {
	if found := s.view(c, id); found != nil {
		return found, nil
	}
	if s.unread() {
		return nil, errUnread
	}
	return nil, errMissing
}

// `unread` reports whether there is a store that has not been read yet.
func (s *Service) unread() bool { return s.options.Open != nil && s.synced.Load() == 0 }

// VersionState is what a version is used for.
type VersionState string

// These are the states of a version.
const (
	Enabled   VersionState = "ENABLED"
	Active    VersionState = "ACTIVE"
	IsCanary  VersionState = "CANARY"
	Destroyed VersionState = "DESTROYED"
)

// Version is a version of a managed credential, as the management API shows it.
type Version struct {
	Number       int
	State        VersionState
	PublicValues map[string]string
	SecretFields []string
	AllowedHosts []string
	CreateTime   time.Time
	Creator      string
	ActivateTime time.Time
	DestroyTime  time.Time
	Verification *store.Verification
}

func versionView(c *store.Credential, v *store.Version, by *config.Config) *Version {
	view := &Version{
		Number: v.Number, State: Enabled, AllowedHosts: v.AllowedHosts, CreateTime: v.CreateTime, Creator: v.Creator,
		ActivateTime: v.ActivateTime, DestroyTime: v.DestroyTime, Verification: v.Verification,
	}
	_, method, _ := definition(by.Catalog, c.Provider, c.AuthMethod)
	view.PublicValues, view.SecretFields = shown(v, method)
	switch {
	case !v.DestroyTime.IsZero():
		view.State = Destroyed
	case v.Number == c.ActiveVersion:
		view.State = Active
	case v.Number == c.CanaryVersion:
		view.State = IsCanary
	}
	return view
}
