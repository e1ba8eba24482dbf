package brokertest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

func (h harness) watch(ids ...string) stream {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), time.Minute)
	h.Cleanup(cancel)
	opened, err := h.Client().WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: ids})
	if err != nil {
		h.Fatal(err)
	}
	return stream{h, opened}
}

type stream struct {
	h harness
	grpc.ServerStreamingClient[authmaterialv1.WatchAuthDecorationsResponse]
}

func (s stream) next() *authmaterialv1.WatchAuthDecorationsResponse {
	s.h.Helper()
	state, err := s.Recv()
	if err != nil {
		s.h.Fatalf("the watch ended: %v", err)
	}
	return state
}

// wantVersion checks that the next state is a decoration of the credential, and returns its
// version.
func (s stream) wantVersion(id string) string {
	s.h.Helper()
	state := s.next()
	if state.GetCredentialId() != id || state.GetAuthDecoration() == nil {
		s.h.Fatalf("the next state belongs to %s (%v), want a decoration of %s", state.GetCredentialId(), state.GetError().GetReason(), id)
	}
	return state.GetAuthDecoration().GetVersion()
}

func (s stream) wantReason(id string, reason authmaterialv1.ErrorReason) {
	s.h.Helper()
	if state := s.next(); state.GetCredentialId() != id || state.GetError().GetReason() != reason {
		s.h.Fatalf("the next state belongs to %s (%v), want the error %v of %s", state.GetCredentialId(), state.GetError().GetReason(), reason, id)
	}
}

func TestWatchTellsTheCurrentStateOfEach(t *testing.T) {
	h := newHarness(t)
	s := h.watch("pendo", "no-such-one", "sendpulse-oauth", "Malformed", "pendo")
	told := map[string]authmaterialv1.ErrorReason{}
	for range 4 {
		state := s.next()
		told[state.GetCredentialId()] = state.GetError().GetReason()
		if state.GetError() == nil && state.GetAuthDecoration().GetVersion() != h.get(state.GetCredentialId()).GetVersion() {
			t.Errorf("the version of %s is not the current one", state.GetCredentialId())
		}
	}
	want := map[string]authmaterialv1.ErrorReason{
		"pendo": 0, "sendpulse-oauth": 0,
		"no-such-one": authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_NOT_FOUND,
		"Malformed":   authmaterialv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
	}
	for id, reason := range want {
		if got, found := told[id]; !found || got != reason {
			t.Errorf("%s: the watch sent a state: %v; its error reason is %v, want %v", id, found, got, reason)
		}
	}
}

func TestWatchTellsOfReplacement(t *testing.T) {
	h := newHarness(t)
	s := h.watch("sendpulse-oauth")
	first := s.wantVersion("sendpulse-oauth")
	second := h.wantReport("sendpulse-oauth", first, 401, replaced)
	if got := s.wantVersion("sendpulse-oauth"); got != second {
		t.Error("the watch sent another version than the answer to the report")
	}
}

func TestWatchedTokenIsRenewed(t *testing.T) {
	clock := clockwork.NewFakeClock()
	h := newHarness(t, brokertest.WithClock(clock))
	s := h.watch("sendpulse-oauth")
	versions := []string{s.wantVersion("sendpulse-oauth")}
	for range 3 { // no caller other than the watch uses the token
		clock.Advance(55 * time.Minute)
		version := s.wantVersion("sendpulse-oauth")
		if slices.Contains(versions, version) {
			t.Fatal("the watch sent the same version twice")
		}
		versions = append(versions, version)
	}
}

func TestWatchTellsOfTroubleAndItsEnd(t *testing.T) {
	clock := clockwork.NewFakeClock()
	h := newHarness(t, brokertest.WithClock(clock))
	h.Simulator.SendPulse.FailNextTokenRequests(1, simulator.HTMLPage(502))
	s := h.watch("sendpulse-oauth", "pendo")
	s.wantVersion("pendo") // does not wait for the other credential
	s.wantReason("sendpulse-oauth", authmaterialv1.ErrorReason_ERROR_REASON_PROVIDER_UNAVAILABLE)
	clock.Advance(2 * time.Second)
	s.wantVersion("sendpulse-oauth")
}

func TestWatchBounds(t *testing.T) {
	h := newHarness(t)
	for _, n := range []int{0, 101} {
		_, err := h.watch(make([]string, n)...).Recv()
		h.wantStatus(err, codes.InvalidArgument, "INVALID_REQUEST")
	}
}
