package fleettest_test

import (
	"testing"
	"time"
)

// TestFaults runs the faults of the soak test that no other fleet test covers, one after another.
// TestFaults is not parallel, because one fault uses all CPU cores.
func TestFaults(t *testing.T) {
	s := newSoak(t, 1)
	load := s.startLoad()
	for _, draw := range []func(*cost) []action{
		func(c *cost) []action { return s.brief(c, s.failing(c, gateways[0])) },
		func(c *cost) []action { return s.brief(c, s.failing(c, gateways[len(gateways)-1])) },
		func(c *cost) []action { return s.brief(c, s.hostileReplies(c)) },
		func(c *cost) []action { return s.brief(c, s.foreignEvent(c)) },
		func(c *cost) []action { return s.brief(c, s.foreignTokens(c)) },
		func(c *cost) []action { return s.brief(c, s.busyMachine(c)) },
		func(c *cost) []action { return s.brief(c, s.sleeping(c, soakLife/2)) },
		func(c *cost) []action { return s.brief(c, s.sleeping(c, longSleep)) },
		func(c *cost) []action { return s.brief(c, s.correcting(c, correctedBy)) },
		func(c *cost) []action { return s.brief(c, s.correcting(c, -correctedBy)) },
	} {
		s.round(load, draw)
		if t.Failed() {
			break
		}
	}
	load.Stop()
	t.Logf("%d MiB at most; %v", s.peak>>20, load)
}

// `brief` runs a fault that begins at once and ends soon. During the fault, all tokens are revoked,
// so that the brokers need Redis and the provider.
func (s *soak) brief(c *cost, fault []action) []action {
	c.revocations++
	for i := range fault {
		fault[i].after = time.Duration(i) * 1500 * time.Millisecond
	}
	return append(fault, action{200 * time.Millisecond, "revoke all tokens", s.fleet.Provider.RevokeTokens})
}
