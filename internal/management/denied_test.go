package management_test

import (
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/management"
)

// TestDenialsNameTheCause checks the errors of actions that a caller's grants do not allow.
func TestDenialsNameTheCause(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(acme + `
grants:
  - {callers: ["token:ann"], credentials: ["mail-*"], actions: [manage]}
`))
	wanted := newAcme("", "secret")
	wanted.DisplayName = "Acme Production"
	_, err := r.Create(t.Context(), r.as("ann"), wanted)
	if got := fault.From(err); got.Reason != fault.AccessDenied || !strings.Contains(got.Message, "create a credential with this ID") {
		t.Errorf("a new credential: %s %s", got.Reason, got.Message)
	}
	_, err = r.FleetStatus(t.Context(), r.as("ann"))
	if got := fault.From(err); got.Reason != fault.AccessDenied || !strings.Contains(got.Message, "the action operate") {
		t.Errorf("the fleet status: %s %s", got.Reason, got.Message)
	}
}

// TestNamesOfNobody checks that a name which no caller can have is refused for a canary, that an
// unknown one causes a warning, and that explanations of access report both.
func TestNamesOfNobody(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	r.created(newAcme("one", "first"))
	r.addVersion(management.NewVersion{ETag: r.one().ETag})
	for pattern, want := range map[string]string{"admin": `did you mean "token:admin"?`, "ci-*": "this is not a caller's name"} {
		_, _, err := r.Activate(t.Context(), r.admin(), "one", r.one().ETag, 2, []string{pattern})
		if got := fault.From(err); got.Reason != fault.InvalidRequest || !strings.Contains(got.Message, want) {
			t.Errorf("a canary for %s: %s %s", pattern, got.Reason, got.Message)
		}
	}
	_, warning, err := r.Activate(t.Context(), r.admin(), "one", r.one().ETag, 2, []string{"token:admin", "token:ci"})
	if err != nil || !strings.HasPrefix(warning, `The pattern "token:ci" may match no caller: `) {
		t.Errorf("a canary for an unknown token: warning %q, error %v", warning, err)
	}
	for about, want := range map[string]string{"admin": `The name lacks the kind of caller; did you mean "token:admin"? `, "token:ci": "There is no token of this name", "token:admin": "view, manage: allowed by the grant at broker.yaml:4. use, operate: not allowed, because no grant with this action names both the caller and the credential. Grants that name the caller: broker.yaml:4. Grants that name the credential: broker.yaml:4, broker.yaml:5."} {
		e, err := r.ExplainAccess(t.Context(), r.admin(), "one", about)
		if err != nil || !strings.HasPrefix(e.Text, want) {
			t.Errorf("what %s may do: %q (%v)", about, e.Text, err)
		}
	}
}

// TestUnsavedValuesOfNoProvider checks the error about values of a provider that does not exist.
func TestUnsavedValuesOfNoProvider(t *testing.T) {
	w := newWorld(t)
	r := w.verifying(w.parse(grants+acme), catalog.Accepted)
	for provider, want := range map[string]string{"nowhere": "is no provider", "acme": "must be an auth method of"} {
		_, err := r.Verify(t.Context(), r.admin(), "one", 0, &management.Unsaved{Provider: provider, AuthMethod: "none"}, false)
		if got := fault.From(err); got.Reason != fault.InvalidRequest || !strings.Contains(got.Message, want) {
			t.Errorf("%s: %s %s", provider, got.Reason, got.Message)
		}
	}
}
