package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
)

// planner compares credentials with their descriptions in a file.
type planner struct {
	*manager
	file      *config.ManagedFile
	available []*authmaterialv1.Provider
	secrets   bool // whether to send the secrets of existing credentials again
	dry       bool // read no secret
}

// plan contains the changes that a file requires of one credential.
type plan struct {
	wanted     *authmaterialv1.Credential
	present    *authmaterialv1.Credential // the existing credential; nil if there is none
	provider   *authmaterialv1.Provider
	method     *authmaterialv1.AuthMethod
	values     []*authmaterialv1.FieldValue
	hosts      []string // allowed hosts in addition to the provider's hosts
	newVersion bool
	fields     []string // the names of the fields to update
	changes    []string // descriptions of the changes for people, without secrets
	err        error    // the reason why the changes are impossible
}

func (p *plan) action() string {
	switch {
	case p.err != nil:
		return "failed"
	case p.present == nil:
		return "create"
	case len(p.changes) > 0:
		return "change"
	}
	return "none"
}

// plan compares the credential at the broker with the item of the file that describes it. Mistakes
// in the item are added to the problems of the file.
func (a *planner) plan(ctx context.Context, item *config.ManagedCredential) *plan {
	p := &plan{hosts: item.AllowedHosts, wanted: &authmaterialv1.Credential{
		CredentialId: item.ID, DisplayName: item.DisplayName, Description: item.Description, Labels: item.Labels,
		Provider: item.Provider, AuthMethod: item.AuthMethod, Disabled: item.Disabled, KeepWarm: item.KeepWarm,
	}}
	if !item.SecretExpireTime.IsZero() {
		p.wanted.SecretExpireTime = timestamppb.New(item.SecretExpireTime)
	}
	if p.err = a.define(p); p.err != nil || !a.checkValues(p, item) {
		return p
	}
	if p.present, p.err = a.existing(ctx, item.ID); p.err != nil {
		return p
	}
	if p.present != nil {
		if p.present.GetProvider() != item.Provider || p.present.GetAuthMethod() != item.AuthMethod {
			p.err = fmt.Errorf("the provider and the auth method of a credential cannot change: they are %s and %s",
				p.present.GetProvider(), p.present.GetAuthMethod())
			return p
		}
		p.compareTexts()
		a.compareValues(p, item)
	}
	if p.present == nil || p.newVersion {
		a.readValues(p, item)
	}
	return p
}

// define finds the provider and the auth method.
func (a *planner) define(p *plan) error {
	for _, provider := range a.available {
		if provider.GetProviderId() != p.wanted.GetProvider() {
			continue
		}
		p.provider = provider
		for _, method := range provider.GetAuthMethods() {
			if method.GetAuthMethodId() == p.wanted.GetAuthMethod() {
				p.method = method
				return nil
			}
		}
		return fmt.Errorf("%s has no auth method %q; it has: %s", provider.GetDisplayName(), p.wanted.GetAuthMethod(), methodIDs(provider))
	}
	return fmt.Errorf("the broker knows no provider %q", p.wanted.GetProvider())
}

// checkValues reports fields that do not exist, and secrets that are in the file itself.
func (a *planner) checkValues(p *plan, item *config.ManagedCredential) bool {
	known, valid := &fieldValues{method: p.method}, true
	for _, value := range item.Values {
		switch field := known.field(value.Field); {
		case field == nil:
			a.file.Problem(value, "the auth method has no field of this name")
			valid = false
		case field.GetSecret() && value.Inline:
			a.file.Problem(value, "the field is secret: use {env: NAME} or {file: PATH}")
			valid = false
		}
	}
	return valid
}

// compareTexts compares the fields that do not belong to a version, such as the name.
func (p *plan) compareTexts() {
	compare := func(field, present, wanted string) {
		if present != wanted {
			p.fields = append(p.fields, field)
			p.changes = append(p.changes, fmt.Sprintf("%s: %q becomes %q", field, present, wanted))
		}
	}
	compare("display_name", p.present.GetDisplayName(), p.wanted.GetDisplayName())
	compare("description", p.present.GetDescription(), p.wanted.GetDescription())
	if !maps.Equal(p.present.GetLabels(), p.wanted.GetLabels()) {
		p.fields = append(p.fields, "labels")
		p.changes = append(p.changes, fmt.Sprintf("labels: %q becomes %q", pairs(p.present.GetLabels()), pairs(p.wanted.GetLabels())))
	}
	compare("disabled", fmt.Sprint(p.present.GetDisabled()), fmt.Sprint(p.wanted.GetDisabled()))
	compare("keep_warm", fmt.Sprint(p.present.GetKeepWarm()), fmt.Sprint(p.wanted.GetKeepWarm()))
	compare("secret_expire_time", timeText(p.present.GetSecretExpireTime()), timeText(p.wanted.GetSecretExpireTime()))
}

func timeText(at *timestamppb.Timestamp) string {
	if at == nil {
		return "never"
	}
	return at.AsTime().Format(time.RFC3339Nano)
}

// compareValues decides whether a new version is needed.
func (a *planner) compareValues(p *plan, item *config.ManagedCredential) {
	var sent []string // the secrets to send if a new version is needed
	known := &fieldValues{method: p.method}
	for _, value := range item.Values {
		if known.field(value.Field).GetSecret() {
			p.newVersion = p.newVersion || a.secrets || !slices.Contains(p.present.GetSecretFieldsSet(), value.Field)
			sent = append(sent, value.Field+": the secret is sent")
			continue
		}
		text, _ := a.file.Read(value)
		if before, now := p.present.GetPublicValues()[value.Field], text.Reveal(); before != now {
			p.newVersion = true
			p.changes = append(p.changes, fmt.Sprintf("%s: %q becomes %q", value.Field, before, now))
		}
	}
	provided := providedHosts(p.provider, p.method, p.present.GetPublicValues())
	before := slices.DeleteFunc(slices.Clone(p.present.GetAllowedHosts()), func(host string) bool {
		return slices.Contains(provided, host) && !slices.Contains(p.hosts, host)
	})
	if len(p.hosts) > 0 && !slices.Equal(slices.Sorted(slices.Values(p.hosts)), slices.Sorted(slices.Values(before))) {
		p.newVersion = true
		p.changes = append(p.changes, fmt.Sprintf("allowed_hosts: %q becomes %q", strings.Join(before, ", "), strings.Join(p.hosts, ", ")))
	}
	if p.newVersion {
		p.changes = append(p.changes, sent...)
	}
}

// readValues reads the values to send.
func (a *planner) readValues(p *plan, item *config.ManagedCredential) {
	if a.dry {
		return
	}
	for _, value := range item.Values {
		if text, ok := a.file.Read(value); ok {
			p.values = append(p.values, &authmaterialv1.FieldValue{Field: value.Field, Value: text.Reveal()})
		}
	}
}
