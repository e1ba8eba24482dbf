package fleettest_test

import (
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fleettest"
	"github.com/authmaterial/broker/internal/redistest"
)

// A fleet makes one token request for each cold credential while other processes use all the
// time that the machine's cores have: a broker that waits for a core does not take Redis to be
// out of reach. It runs alone.
func TestOneTokenRequestOnABusyMachine(t *testing.T) {
	for range 3 {
		t.Run("cold", func(t *testing.T) {
			fleet := fleettest.Start(t, fleettest.Options{Redis: oneRedis(redistest.Start(t)), Brokers: 6, Credentials: 10, Lifetime: time.Hour})
			end := fleettest.Busy(t, 16)
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
