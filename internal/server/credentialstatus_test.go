package server_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
)

// statusOf returns the status of a credential, which must have the state `want`, and an explanation
// that contains `text`.
func (m managing) statusOf(id string, want authmaterialv1.CredentialState, text string) *authmaterialv1.CredentialStatus {
	m.Helper()
	answer, err := m.credentials.GetCredentialStatus(m.as("viewer"), &authmaterialv1.GetCredentialStatusRequest{CredentialId: id})
	if err != nil {
		m.Fatalf("reading the status of %s fails: %v", id, err)
	}
	s, c := answer.GetStatus(), answer.GetCredential()
	if s.GetState() != want || c.GetState() != want || !strings.Contains(s.GetExplanation(), text) {
		m.Errorf("the state of %s is %v (%v), with the explanation %q, want %v with %q", id, s.GetState(), c.GetState(), s.GetExplanation(), want, text)
	}
	if c.GetCredentialId() != id || c.GetStateTime() == nil || s.GetSince() == nil {
		m.Errorf("the status of %s has the credential %q, and the times %v and %v", id, c.GetCredentialId(), c.GetStateTime(), s.GetSince())
	}
	return s
}

// createAccount creates a credential with the default values of an account.
func (m managing) createAccount(id string, a account) *authmaterialv1.Credential {
	m.Helper()
	created, err := m.credentials.CreateCredential(m.as("admin"), &authmaterialv1.CreateCredentialRequest{
		CredentialId: id, Values: fieldValues(a.values),
		Credential: &authmaterialv1.Credential{DisplayName: id, Provider: a.provider, AuthMethod: a.method},
	})
	if err != nil {
		m.Fatalf("create %s: %v", id, err)
	}
	return created.GetCredential()
}

func sqliteStore(t *testing.T) string {
	t.Helper()
	return "  url: sqlite://" + filepath.Join(t.TempDir(), "broker.db") + "\n"
}

func TestCredentialStatus(t *testing.T) {
	m := serveManaging(t, sqliteStore(t))
	created := m.createAccount("pair", accounts(m.sim)["sendpulse pair"])
	fresh := m.statusOf("pair", authmaterialv1.CredentialState_CREDENTIAL_STATE_NOT_YET_USED, "Nobody has used the current values")
	if fresh.GetVerification() != nil || fresh.GetActive().GetVersion() != 1 || fresh.GetActivateTime() == nil {
		t.Errorf("an unused credential has the active version %d", fresh.GetActive().GetVersion())
	}

	m.mustMaterial("web", "pair")
	if _, err := m.credentials.VerifyCredential(m.as("admin"), &authmaterialv1.VerifyCredentialRequest{CredentialId: "pair"}); err != nil {
		t.Fatal(err)
	}
	used := m.statusOf("pair", authmaterialv1.CredentialState_CREDENTIAL_STATE_READY, "Callers get a token")
	active := used.GetActive()
	if left := time.Until(active.GetExpireTime().AsTime()); left < 50*time.Minute || left > time.Hour {
		t.Errorf("the token expires in %v", left)
	}
	if !active.GetLastAttempt().GetSucceeded() || active.GetLastAttempt().GetHttpStatus() != 200 || used.GetTokenRequestsToday() == 0 {
		t.Errorf("the last of %d attempts succeeded: %v", used.GetTokenRequestsToday(), active.GetLastAttempt().GetSucceeded())
	}
	if got := used.GetVerification().GetOutcome(); got != authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_ACCEPTED {
		t.Errorf("the latest verification has the outcome %v", got)
	}

	if got := m.log.lines(t, "token issued"); len(got) == 0 || fmt.Sprint(got[len(got)-1]["stored_versions"]) != "[pair:1]" {
		t.Errorf("the %d lines about tokens do not name the version", len(got))
	}

	deleted, err := m.credentials.DeleteCredential(m.as("admin"), &authmaterialv1.DeleteCredentialRequest{CredentialId: "pair", Etag: created.GetEtag()})
	if err != nil {
		t.Fatal(err)
	}
	m.statusOf("pair", authmaterialv1.CredentialState_CREDENTIAL_STATE_DELETED, "can be restored")
	if got := deleted.GetCredential(); got.GetState() != authmaterialv1.CredentialState_CREDENTIAL_STATE_DELETED || !got.GetStateTime().AsTime().Equal(got.GetDeleteTime().AsTime()) {
		t.Errorf("the deleted credential has the state %v", got.GetState())
	}
}

// TestUsesSurviveARestart checks that the store keeps the counts of calls, for declared and managed
// credentials.
func TestUsesSurviveARestart(t *testing.T) {
	text, key := grantingText([]string{"admin", "viewer", "web"}, `
  - {callers: ["token:admin"], credentials: ["*"], actions: [manage]}
  - {callers: ["token:viewer"], credentials: ["*"], actions: [view]}
  - {callers: ["token:web"], credentials: ["*"]}
`, sqliteStore(t)), fleetkeys.Generate()
	callersOf := func(m managing, id string) string {
		text := ""
		for _, use := range m.statusOf(id, authmaterialv1.CredentialState_CREDENTIAL_STATE_READY, "").GetCallers() {
			if age := time.Since(use.GetLastUseTime().AsTime()); age < 0 || age > 10*time.Minute {
				t.Errorf("the caller %s used the credential %s %v ago", use.GetCaller(), id, age)
			}
			text += fmt.Sprint(use.GetCaller(), " ", use.GetVersion(), " ", use.GetCount(), ";")
		}
		return text
	}
	for round := range int64(2) {
		m := serveStored(t, text, key)
		if round == 0 {
			m.createAccount("key", accounts(m.sim)["pendo"])
		}
		for range 3 {
			m.mustMaterial("web", "key")
			m.mustMaterial("web", there)
		}
		if got, want := callersOf(m, "key"), fmt.Sprintf("token:web 1 %d;", 3*(round+1)); got != want {
			t.Errorf("the callers of the managed credential are %s, want %s", got, want)
		}
		if got, want := callersOf(m, there), fmt.Sprintf("token:web 0 %d;", 3*(round+1)); got != want {
			t.Errorf("the callers of the declared credential are %s, want %s", got, want)
		}
		if round == 0 {
			m.createAccount("unused", accounts(m.sim)["pendo"])
		}
		if got, want := m.lastUses(), "key 1 true,"+there+" 0 true,token-of-mail 0 false,unused 1 false,"; got != want {
			t.Errorf("the list has the active versions and last uses %s want %s", got, want)
		}
		m.server.Stop(t.Context())
	}
	m := serveStored(t, text, key)
	if got, want := m.lastUses(), "key 1 true,"+there+" 0 true,token-of-mail 0 false,unused 1 false,"; got != want {
		t.Errorf("after a restart, the list has the active versions and last uses %s want %s", got, want)
	}
}

// lastUses returns the active version of each credential, and whether the credential was used in the
// last 10 minutes.
func (m managing) lastUses() string {
	m.Helper()
	page, err := m.credentials.ListCredentials(m.as("viewer"), &authmaterialv1.ListCredentialsRequest{ShowLastUse: true})
	if err != nil {
		m.Fatal(err)
	}
	text := ""
	for _, c := range page.GetCredentials() {
		if (c.GetActivateTime() != nil) != (c.GetActiveVersion() > 0) {
			m.Errorf("the credential %s with the active version %d has the activate_time %v", c.GetCredentialId(), c.GetActiveVersion(), c.GetActivateTime())
		}
		text += fmt.Sprint(c.GetCredentialId(), " ", c.GetActiveVersion(), " ", c.GetLastUseTime() != nil && time.Since(c.GetLastUseTime().AsTime()) < 10*time.Minute, ",")
	}
	page, err = m.credentials.ListCredentials(m.as("viewer"), &authmaterialv1.ListCredentialsRequest{})
	for _, c := range page.GetCredentials() {
		if c.GetLastUseTime() != nil {
			m.Errorf("without show_last_use, the credential %s has a last use", c.GetCredentialId())
		}
	}
	if err != nil {
		m.Fatal(err)
	}
	return text
}

func TestStatusOfDeclaredAndMissingCredentials(t *testing.T) {
	m := serveManaging(t, sqliteStore(t))
	m.statusOf(there, authmaterialv1.CredentialState_CREDENTIAL_STATE_NOT_YET_USED, "")
	m.mustMaterial("web", there)
	m.statusOf(there, authmaterialv1.CredentialState_CREDENTIAL_STATE_READY, "Callers get the material")
	for caller, want := range map[string]codes.Code{"viewer": codes.NotFound, "web": codes.PermissionDenied} {
		_, err := m.credentials.GetCredentialStatus(m.as(caller), &authmaterialv1.GetCredentialStatusRequest{CredentialId: "none"})
		if status.Code(err) != want {
			t.Errorf("the error for %s is %v", caller, err)
		}
	}
}

func TestTheServerKeepsTokensWarm(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	warm := strings.Replace(configuration, "id: token-of-mail", "id: token-of-mail\n    keep_warm: true", 1)
	h := serve(t, func(o *server.Options) {
		loaded, err := config.Parse("broker.yaml", []byte(warm), config.Options{LookupEnv: func(string) (string, bool) { return "x", true }})
		if err != nil {
			t.Fatal(err)
		}
		o.Config, o.Clock = loaded, clock
	})
	h.eventually("a token is requested", func() bool {
		clock.Advance(time.Second)
		return h.sim.SendPulse.TotalTokenRequests() > 0
	})
}
