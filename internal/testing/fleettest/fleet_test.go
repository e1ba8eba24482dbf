package fleettest_test

import (
	"strings"
	"testing"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// Package fleettest must notice when a broker gives a wrong answer.
func TestFleet(t *testing.T) {
	t.Parallel()
	fleet := fleettest.Start(t, fleettest.Options{Redis: oneRedis(redistest.Start(t)), Brokers: 2, Credentials: 3})
	first, second := fleet.Brokers[0], fleet.Brokers[1]
	good := fleet.Burst(6, first, second)
	if err := good.Err(); err != nil || good.Calls() != 12 || good.Version("credential-00") == "" {
		t.Fatalf("%d calls were made, want 12 without a failure (%v)", good.Calls(), err)
	}

	fleet.Provider.RevokeTokens()
	wantWrong(t, fleet.Burst(3, first), "received a token that the provider does not accept")

	fleet.Provider.FailTokenRequests(simulator.OAuthError(400, "invalid_client"))
	second.SetClient("credential-01", simulator.Client{ID: "other", Secret: "other"})
	second.Kill()
	wantWrong(t, fleet.Burst(3, second), "the call failed: Unavailable (no reason)")
	second.Start()
	wantWrong(t, fleet.Burst(3, second), "the call failed: FailedPrecondition (CREDENTIAL_REJECTED)")
	if got := second.TokenRequests()["credential-01"]; got != 1 {
		t.Errorf("the broker's metrics count %d token requests, want 1", got)
	}
	if got := second.LogLines("serving"); got != 2 {
		t.Errorf("the log has %d lines with the message that the broker is serving, want 2", got)
	}

	first.Stop()
	first.Continue()
	first.Terminate()
	if _, err := first.Ready(); err == nil {
		t.Error("the method Ready reports that a terminated broker is ready")
	}
	if got := fleet.Running(); len(got) != 1 || got[0] != second {
		t.Errorf("the method Running returned %d brokers, want 1", len(got))
	}
}

// wantWrong checks that a failure in the answers contains the given text.
func wantWrong(t *testing.T, answers *fleettest.Answers, want string) {
	t.Helper()
	if err := answers.Err(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the failures are %v, want a failure with the text %q", err, want)
	}
}
