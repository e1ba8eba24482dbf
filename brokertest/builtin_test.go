package brokertest_test

import (
	"net/http"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/catalog"
)

// managing is a configuration without credentials, in which the connection of a broker with TLS may
// also verify credentials.
const managing = `{credentials: [], grants: [
	{callers: ["spiffe://brokertest/conn"], credentials: ["*"], actions: [use, manage]}]}`

// TestBuiltInProviders checks for every built-in auth method that the simulation from its definition
// recognises a call that the broker decorated, that a rejection can be reported, and that a
// verification distinguishes a good credential from a bad one.
func TestBuiltInProviders(t *testing.T) {
	for _, provider := range catalog.Builtin().Providers() {
		t.Run(provider.ID, func(t *testing.T) {
			options := []brokertest.Option{brokertest.WithTLS(), brokertest.WithConfig(managing)}
			for _, method := range provider.AuthMethods {
				options = append(options, brokertest.WithCredentials(
					brokertest.Credential{ID: method.ID, Provider: provider.ID, AuthMethod: method.ID, Simulated: true}))
			}
			h := newHarness(t, options...)
			for _, method := range provider.AuthMethods {
				t.Run(method.ID, func(t *testing.T) {
					h := harness{T: t, Broker: h.Broker}
					s := simulated{harness: h, id: method.ID, method: method, account: h.Account(method.ID)}
					s.checkLife()
				})
			}
		})
	}
}

// simulated is a credential whose provider is simulated from its definition.
type simulated struct {
	harness

	id      string
	method  *catalog.AuthMethod
	account *simulator.Account
}

func (s simulated) checkLife() {
	s.Helper()
	s.wantVerified(catalog.Accepted)
	before := s.account.RecognisedRequests()
	first := s.get(s.id)
	if status := s.call(s.url(), first); status != http.StatusOK || s.account.RecognisedRequests() != before+1 {
		s.Fatalf("the provider answers %d to a decorated call", status)
	}
	if s.method.HasToken() {
		s.account.RevokeTokens()
		s.wantRejected(first, replaced)
		if status := s.call(s.url(), s.get(s.id)); status != http.StatusOK {
			s.Errorf("the provider answers %d to a call with the next token", status)
		}
	}
	s.account.RejectKey()
	s.account.RevokeTokens()
	if s.method.TokenRequest != nil {
		s.wantRefusedToken()
	} else if s.method.JWT == nil {
		s.wantRejected(first, notReplaceable)
	}
	s.wantVerified(catalog.Refused)
}

// url returns the URL of an API call that is not the verification.
func (s simulated) url() string { return "https://" + s.account.Hosts()[0] + "/simulated" }

// wantRejected checks that the provider rejects the material in a way that can be reported.
func (s simulated) wantRejected(decoration *authmaterialv1.AuthDecoration, outcome authmaterialv1.ReportRejectionResponse_Outcome) {
	s.Helper()
	recognised := s.account.RecognisedRequests()
	status := s.call(s.url(), decoration)
	if s.account.RecognisedRequests() != recognised {
		s.Errorf("the provider accepts rejected material")
	}
	if !s.method.MayReject(status) {
		s.Errorf("the provider answers %d to rejected material, which the definition does not describe", status)
	}
	s.wantReport(s.id, decoration.GetVersion(), int32(status), outcome)
}

// wantRefusedToken checks that the provider issues no token for rejected values.
func (s simulated) wantRefusedToken() {
	s.Helper()
	current := s.get(s.id)
	_, err := s.report(s.id, current.GetVersion(), int32(s.call(s.url(), current)))
	s.wantStatus(err, codes.FailedPrecondition, "CREDENTIAL_REJECTED")
}

// wantVerified checks the outcome of a verification. If the definition describes no answer with this
// outcome, the verification must not have the opposite outcome.
func (s simulated) wantVerified(outcome catalog.Outcome) {
	s.Helper()
	if s.method.Verification == nil {
		return
	}
	described := slices.ContainsFunc(s.method.Verification.Answers, func(answer catalog.VerificationAnswer) bool {
		return answer.Outcome == outcome
	})
	if s.method.TokenRequest != nil && outcome == catalog.Refused {
		described = true // the token request is refused
	}
	response, err := authmaterialv1.NewCredentialServiceClient(s.Conn()).VerifyCredential(s.Context(),
		&authmaterialv1.VerifyCredentialRequest{CredentialId: s.id, AllowTokenReplacement: true})
	if err != nil {
		s.Fatal(err)
	}
	got := response.GetVerification()
	want := authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_INCONCLUSIVE
	if described {
		want = authmaterialv1.VerificationOutcome(authmaterialv1.VerificationOutcome_value["VERIFICATION_OUTCOME_"+string(outcome)])
	}
	if got.GetOutcome() != want {
		s.Errorf("the outcome of the verification is %s, want %s: %s", got.GetOutcome(), want, got.GetExplanation())
	}
}
