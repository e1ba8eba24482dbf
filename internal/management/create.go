package management

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

// NewCredential describes a credential that is to be created.
type NewCredential struct {
	// ID is the credential's ID. If ID is empty, it is made from DisplayName.
	ID               string
	DisplayName      string
	Description      string
	Labels           map[string]string
	Provider         string
	AuthMethod       string
	Disabled         bool
	KeepWarm         bool
	SecretExpireTime time.Time
	Values           []FieldValue
	AllowedHosts     []string
	// RequestID makes the request safe to repeat, if it is not empty.
	RequestID string
	// ValidateOnly is true if nothing is to be stored.
	ValidateOnly bool
}

// Create creates a credential with version 1, which becomes the active version.
func (s *Service) Create(ctx context.Context, caller Caller, n NewCredential) (created *Credential, err error) {
	if n.ID == "" {
		n.ID = credentials.IDOf(n.DisplayName)
	}
	c := &call{caller: caller, operation: audit.CreateCredential, action: access.Manage, id: n.ID, nameless: n.DisplayName == "", version: 1}
	err = s.do(ctx, c, func() error {
		created, err = s.create(ctx, c, n)
		return err
	})
	return created, err
}

func (s *Service) create(ctx context.Context, c *call, n NewCredential) (*Credential, error) {
	config := c.caller.Config
	if s.options.Open == nil || config.Store == nil {
		return nil, errNoStore
	}
	m := &material{public: map[string]string{}, secrets: map[string]secret.Text{}}
	var problems violations
	if !manages(config, n.ID) {
		problems.add("credential_id", "must match one of store.id_patterns in the broker's configuration file")
	}
	row := store.Credential{
		ID: n.ID, DisplayName: n.DisplayName, Description: n.Description, Labels: n.Labels, Provider: n.Provider, AuthMethod: n.AuthMethod,
		Disabled: n.Disabled, KeepWarm: n.KeepWarm, SecretExpireTime: n.SecretExpireTime, ActiveVersion: 1,
	}
	checkTexts(&row, &problems)
	if m.define(config, n.Provider, n.AuthMethod, &problems) {
		m.set(n.Values, &problems)
		m.setHosts(config, n.AllowedHosts, &problems)
		m.check(n.ID, &problems)
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	request, known, err := s.request(ctx, c, n.RequestID, n.fingerprint())
	if err != nil {
		return nil, err
	}
	if known {
		return s.afterSync(ctx, c)
	}
	if config.Credentials.Get(n.ID) != nil {
		return nil, errExists
	}
	version := &store.NewVersion{Number: 1, AllowedHosts: m.hosts, PublicValues: m.public, Values: m.secrets, Creator: c.caller.Name}
	if n.ValidateOnly {
		c.fields = []string{"validate_only"}
		if s.snapshot.Load().get(n.ID) != nil {
			return nil, errExists
		}
		fields := slices.Sorted(maps.Keys(m.secrets))
		return managedView(&row, &store.Version{Number: 1, AllowedHosts: m.hosts, PublicValues: m.public, SecretFields: fields}, config), nil
	}
	c.fields = fieldsOf(n.Values, len(m.hosts) > 0)
	return s.apply(ctx, c, store.Change{Credential: &row, Insert: version, Request: request})
}

// fieldsOf returns the names of the fields that a new version sets, for the history and the audit
// log.
func fieldsOf(values []FieldValue, hosts bool) (fields []string) {
	for _, value := range values {
		fields = append(fields, "values."+value.Field)
	}
	if hosts {
		fields = append(fields, "allowed_hosts")
	}
	return fields
}

// apply stores a change, waits until this replica serves it, and returns the changed credential.
func (s *Service) apply(ctx context.Context, c *call, change store.Change) (*Credential, error) {
	change.Event = &store.Event{Caller: c.caller.Name, Operation: string(c.operation), Version: c.version, Fields: c.fields, Outcome: string(c.outcome)}
	revision, err := s.store().Apply(ctx, change)
	if err != nil {
		if errors.Is(err, store.ErrRepeated) { // another replica was handling the same request
			if _, err = s.carriedOut(ctx, c, change.Request); err != nil {
				return nil, err
			}
			return s.afterSync(ctx, c)
		}
		return nil, err
	}
	// The change is stored already: if this call cannot read it back, Run reads it later.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), syncPatience)
	defer cancel()
	if s.syncTo(ctx, revision) != nil {
		return nil, errNotReadBack
	}
	return s.known(c.caller.Config, c.id)
}

// afterSync reads the changes of the store, and then returns the credential that the call is about.
func (s *Service) afterSync(ctx context.Context, c *call) (*Credential, error) {
	if err := s.Sync(ctx); err != nil {
		return nil, err
	}
	return s.known(c.caller.Config, c.id)
}

// syncPatience is how long a call waits until this replica serves a change that the call made.
const syncPatience = 5 * time.Second

// request returns the store.Request of a call that is about to create the version c.version. If the
// request was carried out already, the result `known` is true, and c.version becomes the number of
// the version that the request created. Without a request ID, the returned request is nil.
func (s *Service) request(ctx context.Context, c *call, id string, content secret.Text) (request *store.Request, known bool, err error) {
	if id == "" {
		return nil, false, nil
	}
	if !requestIDs.MatchString(id) {
		return nil, false, invalid("request_id", "must be 1 to 64 visible ASCII characters")
	}
	version := binary.BigEndian.AppendUint32(nil, uint32(c.version)) //nolint:gosec // a version number is at most a few thousand
	request = &store.Request{
		RequestKey:  store.RequestKey{Caller: c.caller.Name, Method: string(c.operation), CredentialID: c.id, RequestID: id},
		Fingerprint: append(s.store().Fingerprint(content), version...),
	}
	known, err = s.carriedOut(ctx, c, request)
	return request, known, err
}

// carriedOut reports whether a request was carried out already. If so, it sets c.version to the
// version that the request created.
func (s *Service) carriedOut(ctx context.Context, c *call, request *store.Request) (bool, error) {
	stored, found, err := s.store().Request(ctx, request.RequestKey)
	if err != nil || !found {
		return false, err
	}
	content, version, ok := cutVersion(stored)
	if given, _, _ := cutVersion(request.Fingerprint); !ok || !bytes.Equal(given, content) {
		return false, errOtherContent
	}
	c.version = version
	return true, nil
}

// cutVersion splits the fingerprint of a request into the fingerprint of its content and the number
// of the version that the request created.
func cutVersion(fingerprint []byte) (content []byte, version int, ok bool) {
	at := len(fingerprint) - 4
	if at < 0 {
		return nil, 0, false
	}
	return fingerprint[:at], int(binary.BigEndian.Uint32(fingerprint[at:])), true
}

var errOtherContent = invalid("request_id", "was used for a request with other content: use a new ID")

var requestIDs = regexp.MustCompile(`^[!-~]{1,64}$`)

// fingerprint returns a text that differs for requests with different content.
func (n NewCredential) fingerprint() secret.Text {
	values := n.Values
	n.Values, n.RequestID = nil, ""
	return fingerprint(n, values)
}

func fingerprint(request any, values []FieldValue) secret.Text {
	parts := []any{request}
	for _, value := range values {
		parts = append(parts, value.Field, value.Value.Reveal())
	}
	text, err := json.Marshal(parts)
	if err != nil {
		panic(fmt.Sprintf("management: encode a request: %v", err)) // cannot happen: JSON can represent every part
	}
	return secret.New(string(text))
}

var labelKeys = regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$`)

// checkTexts checks the display name, the description, the labels and the SecretExpireTime of a
// credential.
func checkTexts(c *store.Credential, problems *violations) {
	checkText := func(field, text string, least, most int) {
		if n := utf8.RuneCountInString(text); n < least || n > most || !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) {
			problems.add(field, fmt.Sprintf("must have %d to %d characters, without control characters, and has %d", least, most, n))
		}
	}
	checkText("credential.display_name", c.DisplayName, 1, maxName)
	checkText("credential.description", c.Description, 0, maxText)
	if len(c.Labels) > maxLabels {
		problems.add("credential.labels", fmt.Sprintf("must have at most %d labels, and has %d", maxLabels, len(c.Labels)))
	}
	if at := c.SecretExpireTime; !at.IsZero() && (at.Year() < 1970 || at.Year() > 9999) {
		problems.add("credential.secret_expire_time", "must be in the years 1970 to 9999")
	}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		at := "credential.labels." + clip(key)
		if !labelKeys.MatchString(key) {
			problems.add(at, "must be 1 to 63 lower-case letters, digits, dots, underscores, slashes and hyphens, with a letter or digit at each end")
		}
		checkText(at, c.Labels[key], 0, maxLabel)
	}
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
