package fleettest_test

import (
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// takeover is the longest time that a caller may wait for a token whose requesting replica is
// killed.
const takeover = 4 * time.Second

// startHeld starts a fleet whose first broker has made a token request for each credential. The
// provider does not answer these requests before `release` is called, but answers later ones at
// once. `callers` waits for the calls that caused the requests, and returns their answers.
func startHeld(t *testing.T) (fleet *fleettest.Fleet, callers func() *fleettest.Answers, release func()) {
	t.Helper()
	fleet = fleettest.Start(t, fleettest.Options{Redis: oneRedis(redistest.Start(t))})
	release = fleet.Provider.HoldTokenAnswers()
	callers = fleet.BeginBurst(len(fleet.Credentials), fleet.Brokers[0])
	fleet.AwaitTokenRequests(len(fleet.Credentials))
	fleet.Provider.HoldTokenAnswers()()
	return fleet, callers, release
}

// A broker is killed while it makes a token request for each credential, and the other brokers wait
// for these tokens.
func TestHolderIsKilled(t *testing.T) {
	t.Parallel()
	fleet, victims, _ := startHeld(t)
	victim, others := fleet.Brokers[0], fleet.Brokers[1:]
	const callers = 40
	burst := fleet.BeginBurst(callers, others...)
	fleet.AwaitCallsUnderWay(callers, others...)
	killed := time.Now()
	victim.Kill()
	answers := burst()
	waited := time.Since(killed)
	victims()

	if err := answers.Err(); err != nil {
		t.Error(err)
	}
	if waited > takeover {
		t.Errorf("a caller waited for %v after the kill, want %v at most", waited, takeover)
	}
	wantRequests(t, fleet, 2)
	answers.AwaitAgreement(1)
	t.Logf("calls to the other brokers: %v; %d token requests for %d credentials", answers,
		fleet.Provider.TotalTokenRequests(), len(fleet.Credentials))
}

// A broker hangs while it makes a token request for each credential. The late tokens of the broker
// must not replace the tokens that other brokers obtain meanwhile.
func TestHolderIsSlow(t *testing.T) {
	t.Parallel()
	fleet, slowCallers, release := startHeld(t)
	slow, others := fleet.Brokers[0], fleet.Brokers[1:]
	slow.Stop()
	answers := fleet.Burst(len(fleet.Credentials), others...)
	release()
	slow.Continue()
	slowAnswers := slowCallers()
	load := fleet.StartLoad(fleettest.LoadOptions{})
	load.AwaitAgreement(1)
	load.Stop()

	for _, got := range []*fleettest.Answers{answers, slowAnswers, load.Answers} {
		if err := got.Err(); err != nil {
			t.Error(err)
		}
	}
	if answers.Wait(1) > takeover {
		t.Errorf("a caller waited for %v, want %v at most", answers.Wait(1), takeover)
	}
	wantRequests(t, fleet, 2)
	for _, c := range fleet.Credentials {
		if got := load.Versions(c.ID); got != 1 {
			t.Errorf("%s: callers received %d versions in the end, want 1", c.ID, got)
		}
		if answers.Version(c.ID) != load.Version(c.ID) {
			t.Errorf("%s: the late token replaced the token of another broker", c.ID)
		}
	}
	t.Logf("calls to the other brokers: %v; later calls to all brokers: %v", answers, load.Answers)
}

// A broker is killed while it renews the token of each credential. The other brokers continue to
// serve the tokens and renew them.
func TestHolderIsKilledInARenewal(t *testing.T) {
	t.Parallel()
	fleet := fleettest.Start(t, fleettest.Options{Redis: oneRedis(redistest.Start(t))})
	victim, others := fleet.Brokers[0], fleet.Brokers[1:]
	victims := fleet.StartLoad(fleettest.LoadOptions{Brokers: []*fleettest.Broker{victim}})
	victims.AwaitAgreement(1)
	release := fleet.Provider.HoldTokenAnswers()
	fleet.AwaitTokenRequests(2 * len(fleet.Credentials))
	victim.Kill()
	release()
	victims.Stop()
	first := fleet.Burst(len(fleet.Credentials), others...)
	load := fleet.StartLoad(fleettest.LoadOptions{Brokers: others})
	taken := load.AwaitAgreement(2)
	load.Stop()

	for _, got := range []*fleettest.Answers{first, load.Answers} {
		if err := got.Err(); err != nil {
			t.Error(err)
		}
		if got.Wait(1) > takeover {
			t.Errorf("a caller waited for %v, want %v at most", got.Wait(1), takeover)
		}
	}
	wantRequests(t, fleet, 3)
	t.Logf("the other brokers had the next tokens %v after the kill; calls to them: %v at first, then %v",
		taken.Round(time.Millisecond), first, load)
}
