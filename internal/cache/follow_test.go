package cache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
)

func TestChangedTokenIsRead(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		f.shared.set(func(s *sharedStore) { s.newsDelay = 100 * time.Millisecond })
		f.wantAt("token-1", 0, 1)
		f.wantReportAt(0, "token-1", "token-2")
		told := f.changed[1].Load()
		f.forgetTrips()
		f.pass(99 * time.Millisecond)
		f.wantAt("token-1", 1)
		f.pass(time.Millisecond)
		if now := f.changed[1].Load(); now != told+1 {
			f.Errorf("Options.Changed was called %d times, want once", now-told)
		}
		f.wantReads(1, 1)
		f.within(0, func() { f.wantAt("token-2", 1) })
		f.wantReads(1, 0)
		f.wantReads(2, 0) // the replica has no entry for the key
		f.wantRequests(2)
	})
}

func TestChangedTokenEndsAFailure(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(failing(fault.New(fault.CredentialRejected, "refused")))
		f.refusedEverywhere()
		f.provider.set(working)
		f.unheard(func() {
			f.forgetFailures(0)
		})
		_, err := f.at(1)
		f.checkReason(err, fault.CredentialRejected)
		f.wantAt("token-2", 0)
		f.pass(time.Millisecond)
		f.wantAt("token-2", 1)
		f.wantReportAt(1, "token-2", "token-3")
		f.wantRequests(3)
	})
}

func (f *fleet) refusedEverywhere() {
	f.Helper()
	for i := range f.fleet {
		_, err := f.at(i)
		f.checkReason(err, fault.CredentialRejected)
	}
}

func (f *fleet) forgetFailures(i int) {
	f.Helper()
	if err := f.fleet[i].ForgetFailures(f.Context()); err != nil {
		f.Fatal(err)
	}
}

func TestForgetFailuresReachesTheFleet(t *testing.T) {
	inFleet(t, 8, func(f *fleet) {
		f.provider.set(failing(fault.New(fault.CredentialRejected, "refused")))
		f.refusedEverywhere()
		f.provider.set(working)
		f.forgetFailures(0)
		f.pass(time.Millisecond)
		together(8*20, func(i int) { f.wantAt("token-2", i%8) })
		f.wantRequests(2)
	})
}

// unheard calls a function whose changes in the Store are not reported to the replicas.
func (f *fleet) unheard(do func()) {
	f.shared.set(func(s *sharedStore) { s.newsLost = true })
	do()
	f.shared.set(func(s *sharedStore) { s.newsLost = false })
}

func TestMissedNewsIsLookedUpBeforeTheTokenIsServed(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.unheard(func() { f.wantReportAt(0, "token-1", "token-2") })
		f.wantAt("token-1", 1) // the replica received no news
		f.links[1].set(func(l *link) { l.latency = 10 * time.Millisecond })
		f.forgetTrips()
		f.links[1].miss()
		f.within(10*time.Millisecond, func() {
			together(1000, func(int) { f.wantAt("token-2", 1) })
		})
		f.wantReads(1, 1)
		f.within(0, func() {
			together(100, func(int) { f.wantAt("token-2", 1) })
		})
		f.wantReads(1, 0)
		f.wantRequests(2)
	})
}

func TestMissedNewsIsLookedUpForWatchers(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.unheard(func() { f.wantReportAt(0, "token-1", "token-2") })
		told := f.changed[1].Load()
		f.links[1].miss()
		f.pass(0)
		if now := f.changed[1].Load(); now != told+1 {
			f.Errorf("Options.Changed was called %d times, want once", now-told)
		}
	})
}

func TestLookUpThatFailsFailsNoCall(t *testing.T) {
	for name, trouble := range map[string]linkState{"refused": refusing, "hanging": hanging} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 2, func(f *fleet) {
				f.wantEverywhere("token-1")
				f.links[1].become(trouble)
				f.forgetTrips()
				f.links[1].miss()
				f.within(operationLimit, func() {
					together(1000, func(int) { f.wantAt("token-1", 1) })
				})
				f.wantReads(1, 1)
				f.within(0, func() { f.wantAt("token-1", 1) })
				f.wantReads(1, 0)
				f.wantRequests(1)
			})
		})
	}
}

func TestMissedNewsOfATokenWhileThereIsOnlyAFailure(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(failing(fault.New(fault.CredentialRejected, "refused")))
		f.refusedEverywhere()
		f.provider.set(working)
		f.unheard(func() {
			f.forgetFailures(0)
			f.wantAt("token-2", 0)
		})
		f.links[1].miss()
		f.wantAt("token-2", 1)
		f.wantRequests(2)
	})
}

func TestCancelledReportDoesNotEndTheLookUp(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.unheard(func() { f.wantReportAt(0, "token-1", "token-2") })
		f.links[1].set(func(l *link) { l.latency = 200 * time.Millisecond })
		f.links[1].miss()
		hasty, cancel := f.caller(10 * time.Millisecond)
		defer cancel()
		_, _, _ = f.fleet[1].Replace(hasty, f.provider, "never seen")
		f.wantAt("token-2", 1)
	})
}

func TestCallerWithAShortDeadlineGetsTheCurrentToken(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.links[1].become(hanging)
		f.links[1].miss()
		hasty, cancel := f.caller(50 * time.Millisecond)
		defer cancel()
		if got, err := f.getFrom(hasty, f.fleet[1]); err != nil || got != "token-1" {
			f.Errorf("a caller whose deadline passed before the Store was read gets token %q, error %v", got, err)
		}
	})
}

func TestNewsMissedWhileALookUpIsUnderWay(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.links[1].set(func(l *link) { l.latency = 200 * time.Millisecond })
		f.links[1].miss()
		f.pass(100 * time.Millisecond) // waits until replica 1 has read token-1
		f.shared.set((*sharedStore).forget)
		f.links[1].miss()
		f.wantAt("token-1", 1)
		f.wantRequests(1)
		f.pass(time.Second)
		f.wantStored("token-1")
	})
}

func TestNewsDuringARefresh(t *testing.T) {
	for name, lost := range map[string]bool{"received": false, "missed": true} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 2, func(f *fleet) {
				f.provider.set(func(p *provider) { p.latency = 10 * time.Millisecond })
				f.wantAt("token-1", 0)
				f.links[1].set(func(l *link) { l.latency = 100 * time.Millisecond })
				time.AfterFunc(50*time.Millisecond, func() {
					f.shared.set(func(s *sharedStore) { s.newsLost = lost })
					f.wantReportAt(0, "token-1", "token-2")
					if lost {
						f.links[1].miss()
					}
				})
				f.wantAt("token-1", 1) // the replica serves the token that it read before it was replaced
				f.pass(100 * time.Millisecond)
				f.wantAt("token-2", 1)
			})
		})
	}
}

func TestMuchNewsOfATokenMakesFewLookUps(t *testing.T) {
	inFleet(t, 1, func(f *fleet) {
		f.wantAt("token-1", 0)
		f.links[0].set(func(l *link) { l.latency = 10 * time.Millisecond })
		f.forgetTrips()
		for range 1000 {
			f.links[0].tell(func(news cache.News) { news.Changed(f.provider.TokenKey()) })
		}
		f.pass(time.Second)
		if reads := f.links[0].reads.Load(); reads == 0 || reads > 2 {
			f.Errorf("after 1,000 changes the replica read the Store %d times, want 1 or 2", reads)
		}
	})
}

type keyed struct {
	*provider
	key string
}

func (k keyed) TokenKey() string { return k.key }

// A replica that missed changes, or for which many tokens changed, must not compare all tokens with
// the Store at the same time.
func TestManyTokensAreNotLookedUpAtOnce(t *testing.T) {
	inFleet(t, 1, func(f *fleet) {
		const tokens = 2_000
		f.provider.set(func(p *provider) { p.latency = 0 })
		for i := range tokens {
			if _, err := f.fleet[0].Token(f.Context(), keyed{f.provider, fmt.Sprint(i)}); err != nil {
				f.Fatal(err)
			}
		}
		f.links[0].set(func(l *link) { l.latency = time.Millisecond })
		f.forgetTrips()
		f.links[0].miss()
		f.pass(0)
		if reads := f.links[0].underWay.Load(); reads == 0 || reads > 8 {
			f.Errorf("%d reads of the Store were under way at once, want 1 to 8", reads)
		}
		f.pass(2 * time.Second)
		f.wantReads(0, tokens)

		f.forgetTrips()
		for _, news := range f.links[0].followers() {
			for i := range tokens {
				news.Changed(fmt.Sprint(i))
			}
		}
		f.pass(0)
		if reads := f.links[0].underWay.Load(); reads == 0 || reads > 8 {
			f.Errorf("after many changes %d reads of the Store were under way at once, want 1 to 8", reads)
		}
		f.pass(2 * time.Second)
		f.wantReads(0, tokens)
	})
}
