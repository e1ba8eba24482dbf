package cache_test

import (
	"slices"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

func (f *fleet) current(i int) *token.Token {
	f.Helper()
	t, ok := f.fleet[i].Current(f.provider)
	if !ok {
		f.Fatalf("replica %d has no current token", i)
	}
	return t
}

// restore puts an older token into the Store, as if the Store were restored from a backup.
func (f *fleet) restore(t *token.Token) {
	f.shared.set(func(s *sharedStore) { s.cell(f.provider.TokenKey()).token = t })
}

// wantCommits checks which tokens were stored, and in which order.
func (f *fleet) wantCommits(want ...string) {
	f.Helper()
	f.pass(time.Millisecond)
	if !slices.Equal(f.shared.commits, want) {
		f.Errorf("the Store received the tokens %q, want %q", f.shared.commits, want)
	}
}

func TestOlderTokenDoesNotReplaceANewerOne(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantAt("token-1", 0)
		old := f.current(0)
		f.pass(time.Second)
		f.wantReportAt(0, "token-1", "token-2")
		f.wantAt("token-2", 1)
		f.restore(old)
		f.links[1].miss()
		f.wantAt("token-2", 1) // replica 1 does not know that token-1 was reported
		f.pass(time.Millisecond)
		f.wantStored("token-2")
		f.wantAt("token-2", 0)
		f.wantCommits("token-1", "token-2", "token-2")
		f.wantRequests(2)
	})
}

func TestRenewalDoesNotUseAnOlderToken(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantEverywhere("token-1")
		old := f.current(0)
		f.pass(time.Second)
		f.wantReportAt(1, "token-1", "token-2")
		f.pass(time.Millisecond)
		f.wantAt("token-2", 0)
		f.restore(old)
		f.pass(renewal + time.Second) // replica 0 renews its token first; no token was reported to replica 0
		f.wantAt("token-3", 0, 1)
		f.wantRequests(3)
	})
}

func TestEmptiedStoreGetsItsTokenBack(t *testing.T) {
	inFleet(t, 8, func(f *fleet) {
		f.wantAt("token-1", 0, 1, 2, 3, 4, 5, 6)
		f.shared.empty()
		f.pass(findingPlace)
		f.wantStored("token-1")
		f.wantAt("token-1", 7) // replica 7 had no token before
		f.wantCommits("token-1", "token-1")
		f.wantRequests(1)
	})
}

func TestEmptiedStoreGetsItsTokenBackFromACallUnderLoad(t *testing.T) {
	inFleet(t, 8, func(f *fleet) {
		f.wantAt("token-1", 0, 1, 2, 3, 4, 5, 6)
		f.shared.empty()
		for range 30 {
			together(8*20, func(i int) { f.wantAt("token-1", i%7) })
			f.pass(10 * time.Millisecond)
		}
		f.wantEverywhere("token-1")
		f.wantRequests(1)
	})
}

func TestTokenIsPutBackAfterALongRequestOfAnother(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.links[0].become(refusing)
		f.pass(time.Second)
		f.wantReportAt(0, "token-1", "token-2")
		f.provider.set(func(p *provider) { p.latency = time.Hour })
		f.links[0].set(func(l *link) { l.latency = 20 * time.Millisecond })
		f.links[0].become(connected)
		f.pass(findingPlace + 30*time.Millisecond) // waits until the replica is about to lock the key
		go func() { _, _, _ = f.reportTo(f.fleet[1], "token-1") }()
		f.pass(10 * time.Second)
		f.wantStored("token-1")
		f.pass(10 * time.Second)
		f.wantStored("token-2")
		f.wantAt("token-2", 1)
	})
}

func TestReportedTokenIsNotUsedAgain(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantEverywhere("token-1")
		reported := *f.current(0)
		f.pass(time.Second)
		f.wantReportAt(0, "token-1", "token-2")
		f.pass(time.Millisecond)
		// The Store gets the same token with a later request time.
		reported.RequestedAt = reported.RequestedAt.Add(time.Minute)
		f.restore(&reported)
		f.links[0].miss()
		f.pass(time.Millisecond)
		f.wantAt("token-2", 0)
		f.wantStored("token-2")
		f.pass(renewal + time.Second)
		f.wantAt("token-3", 0)
	})
}

func TestReportOfATokenThatTheReplicaHasNotSeen(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		f.wantAt("token-1", 1, 2)
		f.links[0].become(refusing)
		f.pass(time.Second)
		f.wantAt("token-2", 0) // token-2 is newer, and unknown to the other replicas
		newer := f.current(0)
		f.wantReportAt(1, "token-2", "token-1")
		f.links[0].become(connected)
		f.pass(findingPlace)
		for range 100 {
			f.pass(10 * time.Millisecond)
			f.wantAt("token-1", 1)
		}
		f.wantEverywhere("token-1")
		f.wantCommits("token-1", "token-2", "token-1")
		f.shared.set((*sharedStore).forget)
		f.restore(newer)
		f.links[0].miss()
		f.wantAt("token-1", 0) // replica 0 remembers that token-2 was rejected
		f.wantRequests(2)
	})
}

func TestTokensThatAreAllReported(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.links[0].become(refusing)
		f.pass(time.Second)
		f.wantReportAt(0, "token-1", "token-2")
		f.wantReportAt(1, "token-2", "token-1")
		f.links[0].become(connected)
		f.pass(findingPlace + 10*time.Millisecond)
		f.wantAt("token-3", 1)
		f.pass(time.Second)
		f.wantEverywhere("token-3")
		f.wantRequests(3)
	})
}

func TestManyReportsOfOneTokenDoNotEvictOthers(t *testing.T) {
	inFleet(t, 1, func(f *fleet) {
		f.provider.set(func(p *provider) {
			p.answer = func(n int) (string, error) { return []string{"A", "B", "C", "A", "D"}[n-1], nil }
		})
		f.wantAt("A", 0)
		f.wantReportAt(0, "A", "B")
		together(1000, func(int) { f.wantReportAt(0, "B", "C") })
		f.shared.empty() // the Store forgets the rejected tokens
		f.pass(renewal - f.elapsed())
		f.pass(3 * time.Second) // token A is issued again, so the Cache makes another token request
		f.wantAt("D", 0)
		f.wantCommits("A", "B", "C", "C", "D")
	})
}

func TestRejectedTokenInTheStoreIsNotUsed(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) {
			p.answer = func(n int) (string, error) { return []string{"A", "B", "C", "A", "D"}[n-1], nil }
		})
		f.wantEverywhere("A")
		f.wantReportAt(1, "A", "B")
		f.pass(time.Millisecond)
		f.wantAt("B", 0)
		reported := f.current(0)
		f.wantReportAt(0, "B", "C")
		f.restore(reported)
		// Replica 0 renews token C, and the provider issues token A. The Store has recorded that A
		// was rejected, so it does not store A, and keeps token B.
		f.pass(renewal + 500*time.Millisecond)
		f.wantAt("C", 0)
		f.pass(2 * time.Second)
		f.wantAt("D", 0)
	})
}

// The Store loses its data before the rejected token is replaced. During the token request, another
// replica puts the rejected token back into the Store.
func TestRejectedTokenThatIsPutBackDuringARequest(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantEverywhere("token-1")
		rejected := f.current(1)
		f.pass(time.Second)
		f.links[0].set(func(l *link) {
			l.before = func(trip string) {
				if trip == tripLock {
					f.shared.set((*sharedStore).forget)
				}
			}
		})
		time.AfterFunc(100*time.Millisecond, func() { f.restore(rejected) })
		f.wantReportAt(0, "token-1", "token-2")
		f.pass(time.Second)
		f.wantEverywhere("token-2")
		f.wantStored("token-2")
		f.wantRequests(2)
	})
}

func TestManyReportsPutATokenBackOnce(t *testing.T) {
	inFleet(t, 1, func(f *fleet) {
		f.wantAt("token-1", 0)
		f.shared.set((*sharedStore).forget)
		f.links[0].set(func(l *link) { l.latency = 10 * time.Millisecond })
		f.links[0].writes.Store(0)
		together(1000, func(int) { f.wantReportAt(0, "token-0", "token-1") })
		f.pass(time.Second)
		f.wantStored("token-1")
		if writes := f.links[0].writes.Load(); writes > 10 {
			f.Errorf("the replicas wrote to the Store %d times to put one token back", writes)
		}
	})
}
