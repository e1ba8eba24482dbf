package cache_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// troubles contains the ways in which a shared Store fails.
var troubles = map[string]linkState{"refused": refusing, "hanging": hanging, "answers lost": deaf}

// moments contains the steps of a token request at which a shared Store begins to fail.
var moments = map[string]func(f *fleet, trouble linkState){
	"before the first trip": (*fleet).all,
	"at the lock":           func(f *fleet, trouble linkState) { f.failAt(tripLock, trouble) },
	"while the request is made": func(f *fleet, trouble linkState) {
		time.AfterFunc(100*time.Millisecond, func() { f.all(trouble) })
	},
	"at the commit":            func(f *fleet, trouble linkState) { f.failAt(tripCommit, trouble) },
	"at the limit of renewals": func(f *fleet, trouble linkState) { f.failAt(tripForcedWait, trouble) },
}

// failAt makes the Store fail for all replicas, beginning with the next request of the given kind.
func (f *fleet) failAt(trip string, trouble linkState) {
	var failed atomic.Bool
	for _, l := range f.links {
		l.set(func(l *link) {
			l.before = func(now string) {
				if now == trip && failed.CompareAndSwap(false, true) {
					f.all(trouble)
				}
			}
		})
	}
}

func eachTrouble(t *testing.T, test func(f *fleet, begin func())) {
	for name, trouble := range troubles {
		for moment, begin := range moments {
			t.Run(name+" "+moment, func(t *testing.T) {
				inFleet(t, 4, func(f *fleet) { test(f, func() { begin(f, trouble) }) })
			})
		}
	}
}

// recover repairs the Store, checks that all replicas then serve the same token without requesting
// another one, and returns that token.
func (f *fleet) recover() string {
	f.Helper()
	requests := f.provider.count()
	f.all(connected)
	f.pass(leaseLife + time.Second) // a disconnected replica may still have a lease
	value := f.shared.stored(f.provider.TokenKey())
	f.wantEverywhere(value)
	f.wantRequests(requests)
	return value
}

func TestColdCallsWithoutTheSharedStore(t *testing.T) {
	eachTrouble(t, func(f *fleet, begin func()) {
		begin()
		together(4*50, func(i int) {
			if _, err := f.at(i % 4); err != nil {
				f.Errorf("a call for a token fails: %v", err)
			}
		})
		f.pass(time.Minute)
		together(4*50, func(i int) {
			if _, err := f.at(i % 4); err != nil {
				f.Errorf("a call for a token fails: %v", err)
			}
		})
		if n := f.provider.count(); n > 4 {
			f.Errorf("the 4 replicas made %d token requests", n)
		}
		f.recover()
	})
}

func TestRenewalsWithoutTheSharedStore(t *testing.T) {
	eachTrouble(t, func(f *fleet, begin func()) {
		f.wantEverywhere("token-1")
		f.pass(renewal - f.elapsed())
		begin()
		for f.elapsed() < end+time.Minute {
			for i := range f.fleet {
				f.within(0, func() {
					if _, err := f.at(i); err != nil {
						f.Errorf("a call for a token fails: %v", err)
					}
				})
			}
			f.pass(10 * time.Second)
		}
		if n := f.provider.count(); n > 1+4 {
			f.Errorf("the 4 replicas made %d token requests", n)
		}
		f.recover()
	})
}

func TestReportsWithoutTheSharedStore(t *testing.T) {
	eachTrouble(t, func(f *fleet, begin func()) {
		f.wantEverywhere("token-1")
		begin()
		together(4*50, func(i int) {
			if got, _, err := f.reportTo(f.fleet[i%4], "token-1"); err != nil || got == "token-1" {
				f.Errorf("a report is answered with token %q, error %v", got, err)
			}
		})
		if n := f.provider.count(); n > 1+4 {
			f.Errorf("the 4 replicas made %d token requests", n)
		}
		if f.recover() == "token-1" {
			f.Error("all replicas serve the token that was reported as rejected")
		}
		for _, value := range f.shared.commits[1:] {
			if value == "token-1" {
				f.Error("the token that was reported as rejected is stored again")
			}
		}
	})
}

func TestNewestTokenSurvivesTheOutage(t *testing.T) {
	eachTrouble(t, func(f *fleet, begin func()) {
		f.provider.set(func(p *provider) { p.ends = true })
		f.wantEverywhere("token-1")
		begin()
		for _, i := range []int{2, 0, 3, 1} {
			if _, _, err := f.reportTo(f.fleet[i], "token-1"); err != nil {
				f.Error(err)
			}
			f.pass(300 * time.Millisecond) // otherwise the replicas could not compare the ages of their tokens
		}
		if got := f.recover(); got != f.provider.newest {
			f.Errorf("all replicas serve token %q, but the provider accepts only token %q", got, f.provider.newest)
		}
	})
}

func TestFailureThatCannotBeStored(t *testing.T) {
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 4, func(f *fleet) {
				f.provider.set(failing(unavailable))
				f.failAt(tripFail, trouble)
				for i := range f.fleet {
					_, err := f.at(i)
					f.checkReason(err, fault.ProviderUnavailable)
					_, err = f.at(i)
					f.checkReason(err, fault.ProviderUnavailable)
				}
				f.wantRequests(4)
				f.provider.set(working)
				f.pass(1250 * time.Millisecond)
				for i := range f.fleet {
					if _, err := f.at(i); err != nil {
						f.Errorf("a call for a token fails: %v", err)
					}
				}
				f.wantRequests(8)
				f.recover()
			})
		})
	}
}

func TestFailureIsRememberedAfterTheOutage(t *testing.T) {
	inFleet(t, 1, func(f *fleet) {
		f.wantAt("token-1", 0)
		f.provider.set(failing(unavailable))
		f.all(refusing)
		_, _, err := f.reportTo(f.fleet[0], "token-1")
		f.checkReason(err, fault.ProviderUnavailable)
		f.all(connected)
		f.pass(2 * findingPlace)
		_, _, err = f.reportTo(f.fleet[0], "token-1")
		f.checkFault(err, fault.ProviderUnavailable, time.Second-2*findingPlace)
		f.wantRequests(2)
	})
}

func TestFailureOfAnEarlierOutageIsForgotten(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.all(refusing)
		f.provider.set(failing(fault.New(fault.CredentialRejected, "refused")))
		_, err := f.at(0)
		f.checkReason(err, fault.CredentialRejected)
		f.all(connected)
		f.pass(2 * findingPlace)
		f.provider.set(working)
		f.wantAt("token-2", 1)
		f.pass(time.Millisecond)
		f.wantAt("token-2", 0)
		f.all(refusing)
		f.wantReportAt(0, "token-2", "token-3") // the earlier failure would prevent token requests for 30 s
	})
}

func TestTokenInItsMarginDoesNotEndAFailure(t *testing.T) {
	inFleet(t, 1, func(f *fleet) {
		f.all(refusing)
		f.provider.set(failing(unavailable))
		_, err := f.at(0)
		f.checkReason(err, fault.ProviderUnavailable)
		f.restore(&token.Token{Value: newValue("old"), RequestedAt: time.Now().Add(-expiry), Lifetime: time.Hour})
		f.all(connected)
		f.pass(2 * findingPlace)
		f.wantAt("old", 0)
		f.wantRequests(1)
	})
}

func TestTimedOutRequestIsStoredAsAFailure(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) { p.latency = time.Hour })
		time.AfterFunc(time.Second, func() {
			_, err := f.at(1) // replica 1 waits for the lease of replica 0
			f.checkReason(err, fault.ProviderUnavailable)
		})
		_, err := f.at(0)
		f.checkReason(err, fault.ProviderUnavailable)
		f.pass(500 * time.Millisecond)
		f.wantRequests(1)
	})
}

func TestOneReplicaDisconnected(t *testing.T) {
	inFleet(t, 4, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.links[0].become(refusing)
		f.wantReportAt(1, "token-1", "token-2")
		f.pass(time.Second)
		f.wantAt("token-1", 0) // replica 0 receives no news
		f.wantAt("token-2", 1, 2, 3)
		f.wantReportAt(0, "token-1", "token-3")
		if got := f.recover(); got != "token-3" {
			f.Errorf("all replicas serve token %q", got)
		}
	})
}

func TestTokenRequestedDuringAnOutageIsStored(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) { p.latency = 3 * time.Second })
		f.links[0].become(refusing)
		time.AfterFunc(time.Second, func() { f.links[0].become(connected) })
		f.wantAt("token-1", 0)
		f.pass(10 * time.Millisecond)
		f.wantStored("token-1")
		f.wantAt("token-1", 1)
		f.wantRequests(1)
	})
}

func TestSmallReadingErrorsDoNotReplaceTokensInTurn(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.all(refusing)
		together(2, func(i int) {
			if _, err := f.at(i); err != nil {
				f.Error(err)
			}
		})
		for _, l := range f.links { // each replica now considers its own token newer than the other's
			l.set(func(l *link) { l.misread = -5 * time.Millisecond })
		}
		f.recover()
		f.pass(time.Minute)
		synctest.Wait()
		if n := len(f.shared.commits); n > 2 {
			f.Errorf("two replicas stored their tokens %d times", n)
		}
	})
}
