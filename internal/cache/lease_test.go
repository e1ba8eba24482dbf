package cache_test

import (
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fault"
)

// slowRequest makes replica 0 take the lease for a token request of five seconds, and ends the
// lease after one second, so that another replica can take it. The returned function waits for
// replica 0's answer.
func (f *fleet) slowRequest() (answer func() (string, error)) {
	f.provider.set(func(p *provider) { p.latency = 5 * time.Second })
	type result struct {
		value string
		err   error
	}
	answers := make(chan result, 1)
	go func() {
		value, err := f.at(0)
		answers <- result{value, err}
	}()
	f.pass(time.Second)
	f.provider.set(func(p *provider) { p.latency = 200 * time.Millisecond })
	f.shared.endLeases()
	return func() (string, error) {
		r := <-answers
		return r.value, r.err
	}
}

func TestSlowRequestDoesNotOverwriteANewerToken(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		answer := f.slowRequest()
		f.wantAt("token-2", 1, 2)
		if got, err := answer(); err != nil || got != "token-2" {
			f.Errorf("callers of the slow replica get token %q, error %v; want the successor", got, err)
		}
		f.wantEverywhere("token-2")
		f.wantCommits("token-2")
		f.wantRequests(2)
	})
}

func TestSlowRequestWaitsForTheOtherReplica(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		answer := f.slowRequest()
		f.pass(3900 * time.Millisecond)
		f.wantAt("token-2", 1) // replica 1's token request is under way when the slow request ends
		if got, err := answer(); err != nil || got != "token-2" {
			f.Errorf("callers of the slow replica get token %q, error %v; want the successor", got, err)
		}
		f.wantCommits("token-2")
		f.wantRequests(2)
	})
}

func TestSlowRequestDoesNotStoreARejectedToken(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		f.provider.set(func(p *provider) {
			p.answer = func(n int) (string, error) { return []string{"A", "A", "B"}[n-1], nil }
		})
		answer := f.slowRequest()
		f.wantAt("A", 1)
		f.wantReportAt(1, "A", "B")
		if got, err := answer(); err != nil || got != "B" {
			f.Errorf("callers of the slow replica get token %q, error %v; want the successor", got, err)
		}
		f.wantEverywhere("B")
		f.wantCommits("A", "B")
		f.wantRequests(3)
	})
}

func TestSlowRequestThatFailedIsNotRepeatedAtOnce(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(failing(unavailable))
		answer := f.slowRequest()
		f.provider.set(func(p *provider) { p.latency = time.Minute })
		go func() { _, _ = f.at(1) }()
		f.pass(4100 * time.Millisecond) // the slow request has failed, and replica 0 waits for replica 1
		go f.fleet[1].Close()           // replica 1 gets no token
		_, err := answer()
		f.checkFault(err, fault.ProviderUnavailable, 900*time.Millisecond)
		f.wantRequests(2)
		f.pass(900 * time.Millisecond)
		f.provider.set(func(p *provider) { p.answer, p.latency = nil, 0 })
		f.wantAt("token-3", 0)
	})
}

// A token request hangs until its refresh times out, when another replica already has the lease.
func TestHungRequestIsNotRepeatedAtOnce(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) { p.latency = time.Minute })
		go func() { _, _ = f.at(0) }()
		f.pass(14 * time.Second)
		f.shared.endLeases()
		go func() { _, _ = f.at(1) }()
		f.pass(1100 * time.Millisecond)
		f.fleet[1].Close() // replica 1 gets no token
		_, err := f.at(0)
		f.checkFault(err, fault.ProviderUnavailable, 900*time.Millisecond)
		f.wantRequests(2)
	})
}

// A token request of replica 0 fails while replica 0 is disconnected. Then replica 0 finds a
// failure in the Store, whose back-off ends sooner. Replica 0 must wait until the back-off of its
// own failure ends.
func TestStoredFailureShortensNoOther(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.provider.set(failing(unavailable))
		report := func(replica int) {
			_, _, err := f.reportTo(f.fleet[replica], "token-1")
			f.checkReason(err, fault.ProviderUnavailable)
		}
		report(1)
		f.links[0].become(refusing)
		f.pass(800 * time.Millisecond)
		report(0)
		f.links[0].become(connected)
		report(0) // replica 0 finds the failure in the Store
		f.pass(50 * time.Millisecond)
		report(0) // the back-off of the failure in the Store has ended
		f.wantRequests(3)
	})
}

func TestLeaseOfADeadReplicaIsTakenOver(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		f.provider.set(func(p *provider) { p.latency = time.Hour })
		go func() { _, _ = f.at(0) }()
		f.pass(1500 * time.Millisecond) // long enough for the replica to renew the lease once
		f.links[0].become(hanging)
		f.provider.set(func(p *provider) { p.latency = 200 * time.Millisecond })
		f.within(leaseLife+pollInterval+200*time.Millisecond, func() {
			together(2*50, func(i int) { f.wantAt("token-2", 1+i%2) })
		})
		f.wantRequests(2)
	})
}
