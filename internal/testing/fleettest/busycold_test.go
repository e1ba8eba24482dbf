package fleettest_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// A fleet makes one token request for each cold credential while other processes use all the
// time that the machine's cores have: a broker that waits for a core does not take Redis to be
// out of reach. It runs alone.
func TestOneTokenRequestOnABusyMachine(t *testing.T) {
	for range 3 {
		t.Run("cold", func(t *testing.T) {
			fleet := fleettest.Start(t, fleettest.Options{Redis: oneRedis(redistest.Start(t)), Brokers: 6, Credentials: 40, Lifetime: time.Hour})
			end := fleettest.Busy(t, 8*runtime.NumCPU())
			burst := fleet.Burst(100, fleet.Brokers...)
			end()
			if err := burst.Err(); err != nil {
				t.Error(err)
			}
			t.Logf("%d token requests; %v", fleet.Provider.TotalTokenRequests(), burst)
			wantRequests(t, fleet, 1)
		})
	}
}

// A broker stands still while many of its cold callers wait for their turn to ask Redis, and
// another broker gets the tokens meanwhile. When it goes on it asks Redis first: that its time
// is up is no reason to request tokens itself.
func TestBrokerStandsStill(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	callers := 20 * runtime.NumCPU() // more than have a turn at once
	fleet := fleettest.Start(t, fleettest.Options{Redis: oneRedis(server), Brokers: 2, Credentials: callers, Lifetime: time.Hour})
	still, other := fleet.Brokers[0], fleet.Brokers[1]
	server.Stop()
	waiting := fleet.BeginBurst(callers, still)
	fleet.AwaitCallsUnderWay(callers, still)
	still.Stop()
	server.Continue()
	if err := fleet.Burst(callers, other).Err(); err != nil {
		t.Error(err)
	}
	<-time.After(4 * time.Second) // longer than anything waits for a turn
	still.Continue()
	if err := waiting().Err(); err != nil {
		t.Error(err)
	}
	wantRequests(t, fleet, 1)
}
