package brokertest_test

import (
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	alreadyReplaced = authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED
	replaced        = authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED
	notReplaceable  = authmaterialv1.ReportRejectionResponse_OUTCOME_NOT_REPLACEABLE
)

// wantReport reports a rejected version, checks the outcome, and returns the version in the
// answer.
func (h harness) wantReport(id, version string, httpStatus int32, want authmaterialv1.ReportRejectionResponse_Outcome) string {
	h.Helper()
	response, err := h.report(id, version, httpStatus)
	if err != nil {
		h.Fatalf("ReportRejection(%q): %v", id, err)
	}
	if response.GetOutcome() != want {
		h.Errorf("the outcome of the report is %v, want %v", response.GetOutcome(), want)
	}
	return response.GetAuthDecoration().GetVersion()
}

func TestReportOutcomes(t *testing.T) {
	h := newHarness(t)
	first := h.get("sendpulse-oauth").GetVersion()

	if version := h.wantReport("sendpulse-oauth", first, 403, notReplaceable); version != first {
		t.Error("a report with a status that does not mean rejection changed the material")
	}
	second := h.wantReport("sendpulse-oauth", first, 401, replaced)
	if second == first {
		t.Error("the broker still serves the version that was reported as rejected")
	}
	if version := h.wantReport("sendpulse-oauth", first, 401, alreadyReplaced); version != second {
		t.Error("the answer to a report of an old version is not the current version")
	}
	h.wantReport("sendpulse-oauth", "no-version-of-ours", 401, alreadyReplaced)
	if n := h.Simulator.SendPulse.TotalTokenRequests(); n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}

	static := h.get("pendo").GetVersion()
	h.wantReport("pendo", static, 403, notReplaceable)
	h.wantReport("pendo", "from-before-a-change", 403, alreadyReplaced)
	h.wantReport("spotdraft", h.get("spotdraft").GetVersion(), 401, notReplaceable)
}

func TestFailedReportWithdrawsNothing(t *testing.T) {
	clock := clockwork.NewFakeClock()
	h := newHarness(t, brokertest.WithClock(clock))
	version := h.get("sendpulse-oauth").GetVersion()
	h.Simulator.SendPulse.FailTokenRequests(simulator.HTMLPage(502))
	for range 2 { // for the second report, the broker returns the error that it stored after the first
		_, err := h.report("sendpulse-oauth", version, 401)
		h.wantStatus(err, codes.Unavailable, "PROVIDER_UNAVAILABLE")
	}
	if n := h.Simulator.SendPulse.TotalTokenRequests(); n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
	if h.get("sendpulse-oauth").GetVersion() != version {
		t.Error("the token is not served after a failed report")
	}
	h.Simulator.SendPulse.RestoreTokenRequests()
	clock.Advance(2 * time.Second)
	h.wantReport("sendpulse-oauth", version, 401, replaced)
}

func TestForcedRenewalsAreLimited(t *testing.T) {
	clock := clockwork.NewFakeClock()
	h := newHarness(t, brokertest.WithClock(clock))
	version := h.get("sendpulse-oauth").GetVersion()
	for range 3 {
		version = h.wantReport("sendpulse-oauth", version, 401, replaced)
	}
	_, err := h.report("sendpulse-oauth", version, 401)
	h.wantStatus(err, codes.ResourceExhausted, "RATE_LIMITED")
	if wait := detail[*errdetails.RetryInfo](status.Convert(err)).GetRetryDelay().AsDuration(); wait != 10*time.Minute {
		t.Errorf("the retry delay is %v, want 10m0s", wait)
	}
	if h.get("sendpulse-oauth").GetVersion() != version {
		t.Error("after a report beyond the limit of forced renewals the token is no longer served")
	}
	clock.Advance(10 * time.Minute)
	h.wantReport("sendpulse-oauth", version, 401, replaced)
}

func TestTokenThatIsEndedEarly(t *testing.T) {
	h := newHarness(t)
	const url = "https://api.sendpulse.com/user/info"
	dead := h.get("sendpulse-oauth")
	h.Simulator.SendPulse.RevokeTokens()
	if status := h.call(url, dead); status != 401 {
		t.Fatalf("the simulator answers %d to a request with a revoked token", status)
	}
	response, err := h.report("sendpulse-oauth", dead.GetVersion(), 401)
	if err != nil {
		t.Fatal(err)
	}
	if status := h.call(url, response.GetAuthDecoration()); status != 200 {
		t.Errorf("after one report and one retry the provider still answers %d", status)
	}
}
