package fleettest_test

import (
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// wantRequests checks that the provider has received n token requests from each client.
func wantRequests(t *testing.T, fleet *fleettest.Fleet, n int) {
	t.Helper()
	for _, c := range fleet.Credentials {
		if got := fleet.Provider.TokenRequests(c.Client.ID); got != n {
			t.Errorf("%s: %d token requests, want %d", c.ID, got, n)
		}
	}
}

// TestOneTokenRequestForEachToken checks that a fleet makes one token request for each missing
// token and for each renewal.
func TestOneTokenRequestForEachToken(t *testing.T) {
	t.Parallel()
	fleet := fleettest.Start(t, fleettest.Options{Redis: oneRedis(redistest.Start(t))})
	burst := fleet.Burst(200, fleet.Brokers...)
	if err := burst.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("cold: %v", burst)
	wantRequests(t, fleet, 1)

	load := fleet.StartLoad(fleettest.LoadOptions{})
	load.AwaitAgreement(1)
	for renewal := 1; renewal <= 3; renewal++ {
		fleet.AwaitTokenRequests((renewal + 1) * len(fleet.Credentials))
		adopted := load.AwaitAgreement(renewal + 1)
		t.Logf("renewal %d: all brokers have all tokens %v after the last request", renewal, adopted.Round(time.Millisecond))
		wantRequests(t, fleet, renewal+1)
	}
	answers := load.Stop()
	if err := answers.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("calls during three renewals: %v", answers)
	for _, c := range fleet.Credentials {
		if got := answers.Versions(c.ID); got != 4 {
			t.Errorf("%s: callers received %d versions, want 4", c.ID, got)
		}
	}
}
