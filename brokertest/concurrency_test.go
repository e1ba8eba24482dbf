package brokertest_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const many = 1000

func together(n int, call func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { call(i) })
	}
	all.Wait()
}

func TestThousandFirstCallersMakeOneTokenRequest(t *testing.T) {
	h := newHarness(t)
	release := h.Simulator.SendPulse.HoldTokenAnswers()
	var arrived atomic.Int64
	go func() {
		// The provider answers only when all, or nearly all, callers are waiting for the token.
		_ = h.Simulator.SendPulse.AwaitTokenRequests(t.Context(), 1)
		for arrived.Load() < many {
			select {
			case <-t.Context().Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
		release()
	}()
	versions := make([]string, many)
	together(many, func(i int) {
		arrived.Add(1)
		versions[i] = h.get("sendpulse-oauth").GetVersion()
	})
	for _, version := range versions {
		if version != versions[0] {
			t.Fatal("callers got different tokens")
		}
	}
	if n := h.Simulator.SendPulse.TotalTokenRequests(); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

func TestCancelledLeaderCostsTheOthersNothing(t *testing.T) {
	h := newHarness(t)
	release := h.Simulator.SendPulse.HoldTokenAnswers()
	leader, giveUp := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := h.Client().GetAuthDecoration(leader, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "sendpulse-oauth"})
		left <- err
	}()
	if err := h.Simulator.SendPulse.AwaitTokenRequests(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var answered sync.WaitGroup
	for range 100 {
		answered.Go(func() { h.get("sendpulse-oauth") })
	}
	giveUp()
	if code := status.Code(<-left); code != codes.Canceled {
		t.Errorf("the status code of the cancelled call is %v, want Canceled", code)
	}
	release()
	answered.Wait()
	if n := h.Simulator.SendPulse.TotalTokenRequests(); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

func TestThousandReportsMakeOneTokenRequest(t *testing.T) {
	h := newHarness(t)
	rejected := h.get("sendpulse-oauth").GetVersion()
	h.Simulator.SendPulse.RevokeTokens()
	outcomes := make([]authmaterialv1.ReportRejectionResponse_Outcome, many)
	versions := make([]string, many)
	together(many, func(i int) {
		response, err := h.report("sendpulse-oauth", rejected, 401)
		if err != nil {
			t.Errorf("the rejection report failed: %v", err)
			return
		}
		outcomes[i], versions[i] = response.GetOutcome(), response.GetAuthDecoration().GetVersion()
	})
	replaced := 0
	for i := range many {
		switch outcomes[i] {
		case authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED:
			replaced++
		case authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED:
		default:
			t.Errorf("the outcome of a rejection report is %v", outcomes[i])
		}
		if versions[i] == rejected || versions[i] != versions[0] {
			t.Fatal("rejection reports were answered with the rejected version, or with different versions")
		}
	}
	if replaced == 0 {
		t.Error("no rejection report had the outcome REPLACED")
	}
	if n := h.Simulator.SendPulse.TotalTokenRequests(); n != 2 {
		t.Errorf("%d token requests, want 2: one for the first token and one for its successor", n)
	}
	if status := h.call("https://api.sendpulse.com/user/info", h.get("sendpulse-oauth")); status != 200 {
		t.Errorf("the provider answers %d to a request with the new token", status)
	}
}
