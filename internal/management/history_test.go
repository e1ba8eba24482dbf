package management_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/management"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/token"
	"github.com/authmaterial/broker/internal/verification"
)

// TestHistoryNamesWhatChanged checks that the history and the audit log distinguish a canary from
// an activation, name changed hosts, and contain the outcome of a verification.
func TestHistoryNamesWhatChanged(t *testing.T) {
	w := newWorld(t)
	r := w.verifying(w.parse(grants+acme), catalog.Accepted)
	dry := newAcme("one", "first")
	dry.ValidateOnly = true
	r.created(dry)
	if record := r.audit.last(); record.Outcome != "OK" || !slices.Equal(record.Fields, []string{"validate_only"}) {
		t.Errorf("the audit record of a request with ValidateOnly has the fields %v", record.Fields)
	}
	one := newAcme("one", "first")
	one.AllowedHosts = []string{"eu.acme.test"}
	r.created(one)
	r.addVersion(management.NewVersion{ETag: r.one().ETag})
	_, changed := r.addVersion(management.NewVersion{
		ETag: r.one().ETag, Values: values(map[string]string{"token": "second"}), AllowedHosts: []string{"us.acme.test"}, Verify: true, Activate: true,
	})
	canary, _, err := r.Activate(t.Context(), r.admin(), "one", changed.ETag, 2, []string{"token:x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Activate(t.Context(), r.admin(), "one", canary.ETag, 2, nil); err != nil {
		t.Fatal(err)
	}
	events, _, err := r.Events(t.Context(), r.admin(), "one", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, event := range slices.Backward(events) {
		got = append(got, strings.TrimSpace(event.Operation+" "+strings.Join(event.Fields, " ")+" "+event.Outcome))
	}
	want := []string{
		"create_credential values.token allowed_hosts",
		"create_version",
		"create_version values.token allowed_hosts active_version ACCEPTED",
		"activate_version canary",
		"activate_version active_version",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the history is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestReadsAreNotRecorded checks that the audit log has no record of a question about the access of
// another caller, unless the question was denied.
func TestReadsAreNotRecorded(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	r.create("one", "first")
	recorded := len(r.audit.all)
	if _, err := r.ExplainAccess(t.Context(), r.admin(), "one", "token:x"); err != nil || len(r.audit.all) != recorded {
		t.Errorf("the question has the error %v and %d audit records", err, len(r.audit.all)-recorded)
	}
	if _, err := r.ExplainAccess(t.Context(), r.as("nobody"), "one", "token:x"); err == nil || r.audit.last().Operation != audit.ExplainAccess {
		t.Errorf("a denied question has the error %v, and the latest record is about %s", err, r.audit.last().Operation)
	}
}

// verifier is a management.Verifier whose verifications all have the same outcome.
type verifier struct {
	outcome catalog.Outcome
	calls   int
}

func (v *verifier) Verify(context.Context, *credentials.Credential, *token.Token) (verification.Result, error) {
	v.calls++
	return verification.Result{Outcome: v.outcome}, nil
}

// verifying starts a replica whose verifications have the given outcome.
func (w *world) verifying(c *config.Config, outcome catalog.Outcome) *replica {
	w.Helper()
	r := w.unopened(c)
	r.verifier.outcome = outcome
	return r.open()
}

const ending = `
providers:
  - id: ending
    display_name: Ending
    allowed_hosts: [api.ending.test]
    auth_methods:
      - id: pair
        display_name: Pair
        rotation: REVOKES_PREVIOUS
        fields:
          - {id: client_id, display_name: ID, required: true, secret: false}
          - {id: client_secret, display_name: Secret, required: true, secret: true}
        token_request: {url: "https://api.ending.test/token", body: FORM, client_authentication: BASIC, previous_token: ENDED}
        headers:
          - {name: Authorization, value: "Bearer ${token}"}
`

// In TestVerificationEndsTheCurrentToken, a verification would end the token that callers use.
// CreateVersion must make the verification only if it may also activate the version.
func TestVerificationEndsTheCurrentToken(t *testing.T) {
	w := newWorld(t)
	r := w.verifying(w.parse(grants+ending), catalog.Accepted)
	r.created(management.NewCredential{
		ID: "one", DisplayName: "One", Provider: "ending", AuthMethod: "pair", Values: values(map[string]string{"client_id": "a", "client_secret": "b"}),
	})
	n := management.NewVersion{ETag: r.one().ETag, Verify: true}
	_, _, err := r.CreateVersion(t.Context(), r.admin(), "one", n)
	wantReason(t, err, "VERIFICATION_UNSUPPORTED")
	if r.verifier.calls != 0 {
		t.Error("a verification ended the token that callers use")
	}
	n.Activate = true
	if _, changed := r.addVersion(n); changed.ActiveVersion != 2 {
		t.Errorf("version %d is active, want version 2", changed.ActiveVersion)
	}
	_, warning, err := r.Activate(t.Context(), r.admin(), "one", r.one().ETag, 1, []string{"token:x"})
	if err != nil || warning == "" {
		t.Errorf("Activate, with a canary whose secret is revoked, returned the error %v and the warning %q, want only a warning", err, warning)
	}
}

// TestAcceptedVersions checks that all replicas learn which versions and declared credentials a
// provider has accepted.
func TestAcceptedVersions(t *testing.T) {
	w := newWorld(t)
	const declared = "credentials: [{id: declared, provider: acme, auth_method: key, values: {token: {value: x}}}]\n"
	r := w.verifying(w.parse(grants+acme+declared), catalog.Refused)
	other := w.replica(r.config)
	r.create("one", "first")
	verify := func(id string, unsaved *management.Unsaved) {
		if _, err := r.Verify(t.Context(), r.admin(), id, 0, unsaved, false); err != nil {
			t.Fatal(err)
		}
	}
	verify("one", nil)
	r.verifier.outcome = catalog.Accepted
	verify("one", &management.Unsaved{Provider: "acme", AuthMethod: "key", Values: values(map[string]string{"token": "y"})})
	if other.sync(); len(r.served.accepted)+len(other.served.accepted) > 0 {
		t.Errorf("before the provider accepted a declared credential or a stored version, Accepted was called for %q", r.served.accepted)
	}
	verify("declared", nil)
	verify("one", nil)
	if got, want := r.served.accepted, []string{"declared 0", "one 1"}; !slices.Equal(got, want) {
		t.Errorf("Accepted was called for %q, want %q", got, want)
	}
	if other.sync(); !slices.Equal(other.served.accepted, []string{"one 1"}) {
		t.Errorf("at the other replica, Accepted was called for %q, want only version 1 of the credential one", other.served.accepted)
	}
}

// TestUnusableValues checks that managers get an error about stored values that cannot be used, and
// that the log names the version and the reason.
func TestUnusableValues(t *testing.T) {
	w := newWorld(t)
	r := w.verifying(w.parse(grants+acme), catalog.Accepted)
	r.create("one", "first")
	verify := func() error {
		_, err := r.Verify(t.Context(), r.admin(), "one", 0, nil, false)
		return err
	}
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	r.reload(w.parse(grants + strings.Replace(acme, "display_name: Name, ", "display_name: Name, required: true, ", 1)))
	wantReason(t, verify(), "VERIFICATION_UNSUPPORTED")
	r.reload(w.parse(grants))
	wantReason(t, verify(), "VERIFICATION_UNSUPPORTED")
	r.reload(w.parse(grants + acme))
	r.store.damaged = true
	for _, err := range []error{verify(), func() error {
		_, _, err := r.CreateVersion(t.Context(), r.admin(), "one", management.NewVersion{ETag: r.one().ETag})
		return err
	}()} {
		wantReason(t, err, "INTERNAL")
		if !strings.Contains(err.Error(), "stored values") {
			t.Errorf("the error does not mention the stored values: %v", err)
		}
	}
	if n := w.log.Count("credential_id=one", "version=1", "changed outside the broker"); n != 2 {
		t.Errorf("%d log lines name the version and the reason", n)
	}
	if strings.Contains(w.log.String(), "first") {
		t.Error("the log contains the secret")
	}
}

// Values fails if the store is damaged.
func (f *failing) Values(c *store.Credential, v *store.Version) (map[string]secret.Text, error) {
	if f.damaged {
		return nil, store.ErrDamaged
	}
	return f.Store.Values(c, v)
}

// TestNewStore checks that the broker, at its first start with a store, warns of grants that
// already allow callers to manage credentials.
func TestNewStore(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	const line = "level=WARN msg=\"the credential store is new"
	if n := w.log.Count(line, "broker.yaml:4", "token:admin"); n != 1 || w.log.Count(line) != 1 {
		t.Errorf("the first start logged the warning %d times: %s", n, w.log)
	}
	r.create("one", "first")
	w.replica(w.parse(grants + acme))
	if n := w.log.Count(line); n != 1 {
		t.Errorf("after the second start, the log contains the warning %d times, want once", n)
	}
	own := newWorld(t)
	c := own.parse(grants + acme)
	c.Store.GrantsAreNew = true
	own.replica(c)
	if n := own.log.Count(line); n != 0 {
		t.Errorf("the log contains %d warnings of grants, although GrantsAreNew is true", n)
	}
}
