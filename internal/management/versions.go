package management

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

// NewVersion describes a version that is to be created.
type NewVersion struct {
	// ETag is the etag of the credential. ETag may be empty if Reset is true.
	ETag string
	// Values are the new values. A field that Values does not name keeps its value from the active
	// version, unless Reset is true.
	Values []FieldValue
	// AllowedHosts are the hosts in addition to those of the provider. If AllowedHosts is empty,
	// the additional hosts of the active version are kept, unless Reset is true.
	AllowedHosts []string
	Reset        bool
	// If Verify is true, the version is tried first, and is activated only if the provider accepts
	// it. If AcceptInconclusive is also true, the version is activated after an inconclusive
	// verification too.
	Verify, AcceptInconclusive bool
	Activate                   bool
	// RequestID makes the request safe to repeat, if it is not empty.
	RequestID string
}

// CreateVersion adds a version to a managed credential.
func (s *Service) CreateVersion(ctx context.Context, caller Caller, id string, n NewVersion) (created *Version, changed *Credential, err error) {
	c := &call{caller: caller, operation: audit.CreateVersion, action: access.Manage, id: id}
	err = s.do(ctx, c, func() error {
		if err := s.createVersion(ctx, c, n); err != nil {
			return err
		}
		created, changed, err = s.versionOf(ctx, c)
		return err
	})
	return created, changed, err
}

// versionOf reads the version and the credential that a call is about.
func (s *Service) versionOf(ctx context.Context, c *call) (*Version, *Credential, error) {
	row, versions, err := s.store().Credential(ctx, c.id)
	if err != nil {
		return nil, nil, err
	}
	found, err := find(versions, c.version)
	if err != nil {
		return nil, nil, err
	}
	active, err := find(versions, row.ActiveVersion)
	if err != nil {
		return nil, nil, err
	}
	return versionView(row, found, c.caller.Config), managedView(row, active, c.caller.Config), nil
}

func find(versions []*store.Version, number int) (*store.Version, error) {
	for _, v := range versions {
		if v.Number == number {
			return v, nil
		}
	}
	return nil, errNotFound
}

// createVersion stores a version, and sets c.version to its number.
func (s *Service) createVersion(ctx context.Context, c *call, n NewVersion) error {
	row, versions, err := s.read(ctx, c)
	if err != nil {
		return err
	}
	if len(versions) == 0 || !row.DeleteTime.IsZero() {
		return errMissing
	}
	c.version = versions[len(versions)-1].Number + 1
	request, known, err := s.request(ctx, c, n.RequestID, n.fingerprint())
	if known || err != nil {
		return err
	}
	switch {
	case n.ETag == "" && !n.Reset:
		return invalid("etag", "is required unless reset is true: use the etag of the credential")
	case n.ETag != "" && n.ETag != etag(row.Revision):
		return errChanged
	}
	m, err := s.nextMaterial(ctx, c, row, versions, n)
	if err != nil {
		return err
	}
	version := &store.NewVersion{Number: c.version, AllowedHosts: m.hosts, PublicValues: m.public, Values: m.secrets, Creator: c.caller.Name}
	c.fields = fieldsOf(n.Values, len(n.AllowedHosts) > 0)
	activate := n.Activate
	if n.Verify {
		if !activate && m.method.EndsPrevious() {
			return errEndsUnlessActivated
		}
		result, err := s.try(ctx, c, m.credential(row.ID))
		if err != nil {
			return err
		}
		version.Verification, c.outcome = result, catalog.Outcome(result.Outcome)
		activate = activate && (c.outcome == catalog.Accepted || n.AcceptInconclusive && c.outcome == catalog.Inconclusive)
	}
	if activate {
		row.ActiveVersion = c.version
		c.fields = append(c.fields, "active_version")
	}
	_, err = s.apply(ctx, c, store.Change{Credential: row, Insert: version, Request: request})
	return err
}

// nextMaterial returns the material of a new version. If the version adds a host, every secret must
// be sent again: otherwise somebody who may manage the credential, but does not know its secret,
// could have the secret sent to that host.
func (s *Service) nextMaterial(
	ctx context.Context, c *call, row *store.Credential, versions []*store.Version, n NewVersion,
) (*material, error) {
	var problems violations
	m := &material{public: map[string]string{}, secrets: map[string]secret.Text{}}
	if !m.define(c.caller.Config, row.Provider, row.AuthMethod, &problems) {
		return nil, problems.err()
	}
	var keptHosts []string
	if !n.Reset {
		active, err := s.store().Version(ctx, row.ID, row.ActiveVersion)
		if err != nil {
			return nil, err
		}
		secrets, err := s.store().Values(row, active)
		if err != nil {
			return nil, s.unusable(c, active, err)
		}
		m.keep(active, secrets)
		keptHosts = addedHosts(c.caller.Config, m.provider, active)
	}
	kept := m.credential(row.ID)
	keptSecrets := slices.Sorted(maps.Keys(m.secrets))
	m.set(n.Values, &problems)
	hosts := n.AllowedHosts
	if len(hosts) == 0 {
		hosts = keptHosts
	}
	m.setHosts(c.caller.Config, hosts, &problems)
	if reason := m.newRecipient(kept, keptHosts); reason != "" {
		for _, field := range keptSecrets {
			if !slices.ContainsFunc(n.Values, func(v FieldValue) bool { return v.Field == field }) {
				problems.add("values."+field, "must be sent again, because the version "+reason+" to which the secret may be sent")
			}
		}
	}
	checkNumber(row, versions, &problems)
	m.check(row.ID, &problems)
	return m, problems.err()
}

// checkNumber reports a problem if a credential can have no more versions.
func checkNumber(row *store.Credential, versions []*store.Version, problems *violations) {
	alive, unused := 0, 0
	for _, v := range slices.Backward(versions) {
		if !v.DestroyTime.IsZero() {
			continue
		}
		alive++
		if v.Number != row.ActiveVersion && v.Number != row.CanaryVersion {
			unused = v.Number
		}
	}
	if alive >= maxVersions {
		problems.add("credential_id", fmt.Sprintf("has %d versions that are not destroyed, and cannot have more: "+
			"destroy one, for example version %d, the oldest one that no caller gets", maxVersions, unused))
	}
}

func (n NewVersion) fingerprint() secret.Text {
	values := n.Values
	n.Values, n.RequestID, n.ETag = nil, "", ""
	return fingerprint(n, values)
}

// Activate makes a version the active one or, if `callers` contains patterns, the canary for these
// callers. The warning is a sentence for people, or empty.
func (s *Service) Activate(
	ctx context.Context, caller Caller, id, etag string, number int, callers []string,
) (changed *Credential, warning string, err error) {
	c := &call{caller: caller, operation: audit.ActivateVersion, action: access.Manage, id: id, version: number}
	changed, err = s.change(ctx, c, etag, func(row *store.Credential, versions []*store.Version, _ *store.Change) error {
		v, err := find(versions, number)
		if err != nil || !v.DestroyTime.IsZero() {
			return errNotFound
		}
		if number < row.ActiveVersion {
			warning = rollBackWarning(caller, row)
		}
		if len(callers) > 0 {
			c.fields, row.CanaryVersion, row.CanaryCallers = []string{"canary"}, number, callers
			doubt, err := checkCanary(caller.Config, row)
			warning = strings.TrimSpace(warning + " " + doubt)
			return err
		}
		c.fields, row.ActiveVersion = []string{"active_version"}, number
		if row.CanaryVersion == number {
			row.CanaryVersion, row.CanaryCallers = 0, nil
		}
		return nil
	})
	return changed, warning, err
}

// checkCanary checks the canary of a credential. The warning is a sentence about a pattern that
// matches no caller at present, or empty.
func checkCanary(by *config.Config, row *store.Credential) (warning string, err error) {
	var problems violations
	if row.CanaryVersion == row.ActiveVersion {
		problems.add("version", "is the active version already")
	}
	if len(row.CanaryCallers) > maxCallers {
		problems.add("callers", fmt.Sprintf("has %d patterns, and at most %d are allowed", len(row.CanaryCallers), maxCallers))
	}
	for n, pattern := range row.CanaryCallers {
		if pattern == "" || len(pattern) > 1024 {
			problems.add(fmt.Sprintf("callers[%d]", n), "must be a pattern for the names of callers, of 1 to 1024 characters")
			continue
		}
		problem, doubt := by.CheckCaller(pattern)
		if problem != "" {
			problems.add(fmt.Sprintf("callers[%d]", n), problem)
		}
		if doubt != "" && warning == "" {
			warning = fmt.Sprintf("The pattern %q may match no caller: %s", pattern, ended(doubt))
		}
	}
	return warning, problems.err()
}

// rollBackWarning returns a warning if the provider has probably revoked the secret of an older
// version.
func rollBackWarning(caller Caller, row *store.Credential) string {
	provider, method, err := definition(caller.Config.Catalog, row.Provider, row.AuthMethod)
	if err != nil || method.Rotation != catalog.RotationRevokesPrevious {
		return ""
	}
	return provider.DisplayName + " revokes a secret when it issues the next one, so this version probably does not work any more. Verify it."
}

// WithdrawCanary ends the canary.
func (s *Service) WithdrawCanary(ctx context.Context, caller Caller, id, etag string) (*Credential, error) {
	c := &call{caller: caller, operation: audit.WithdrawCanary, action: access.Manage, id: id}
	return s.change(ctx, c, etag, func(row *store.Credential, _ []*store.Version, _ *store.Change) error {
		c.version = row.CanaryVersion
		row.CanaryVersion, row.CanaryCallers = 0, nil
		return nil
	})
}

// DestroyVersion erases the values of a version.
func (s *Service) DestroyVersion(
	ctx context.Context, caller Caller, id, etag string, number int,
) (destroyed *Version, changed *Credential, err error) {
	c := &call{caller: caller, operation: audit.DestroyVersion, action: access.Manage, id: id, version: number}
	_, err = s.change(ctx, c, etag, func(row *store.Credential, versions []*store.Version, change *store.Change) error {
		v, err := find(versions, number)
		switch {
		case err != nil || !v.DestroyTime.IsZero():
			return errNotFound
		case number == row.ActiveVersion || number == row.CanaryVersion:
			return errInUse
		}
		change.Destroy = number
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	destroyed, changed, err = s.versionOf(ctx, c)
	return destroyed, changed, toFault(err)
}

// Versions returns the versions of a managed credential, newest first. For a declared credential,
// the result is empty.
func (s *Service) Versions(ctx context.Context, caller Caller, id string) (all []*Version, err error) {
	c := &call{caller: caller, operation: audit.ListVersions, action: access.View, id: id}
	err = s.do(ctx, c, func() error {
		if caller.Config.Credentials.Get(id) != nil {
			return nil
		}
		if s.options.Open == nil {
			return errMissing
		}
		row, versions, err := s.store().Credential(ctx, id)
		if err != nil {
			return err
		}
		for _, v := range slices.Backward(versions) {
			all = append(all, versionView(row, v, caller.Config))
		}
		return nil
	})
	return all, err
}
