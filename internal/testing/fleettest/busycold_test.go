package fleettest_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// A fleet makes one token request for each credential without a token, even if other processes use
// all CPU time. A broker that waits for the CPU must not treat Redis as unreachable. The test is
// not parallel, because it uses all cores.
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

// A broker is suspended while many of its callers, whose tokens are not in memory, wait for their
// turn to ask Redis. During the suspension, another broker obtains the tokens. When the first
// broker is resumed, it still asks Redis, although the time limit for waiting is over, and requests
// no tokens itself.
func TestBrokerStandsStill(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	callers := 20 * runtime.NumCPU() // more callers than may use Redis at the same time
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
	<-time.After(4 * time.Second) // longer than a Redis operation may wait before it begins
	still.Continue()
	if err := waiting().Err(); err != nil {
		t.Error(err)
	}
	wantRequests(t, fleet, 1)
}
