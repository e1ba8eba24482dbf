package cache_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/internal/cache"
)

// slowRead makes replica 1 begin a read of the Store that takes 200 ms. Later reads of replica 1
// are fast again.
func (f *fleet) slowRead() {
	f.pass(10 * time.Millisecond) // waits until all changes have been reported
	f.links[1].set(func(l *link) { l.latency = 200 * time.Millisecond })
	f.links[1].miss()
	f.pass(10 * time.Millisecond)
	f.links[1].set(func(l *link) { l.latency = 0 })
}

func TestChangeWhileALookUpIsUnderWay(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) { p.latency = 50 * time.Millisecond })
		f.wantEverywhere("token-1")
		f.slowRead() // a slow read of token-1
		f.wantReportAt(0, "token-1", "token-2")
		f.pass(10 * time.Millisecond)
		f.wantAt("token-2", 1) // replica 1 answers at once, without waiting for the slow read
		told := f.changed[1].Load()
		f.pass(time.Second)
		f.wantAt("token-2", 1) // the slow read does not bring token-1 back
		if f.changed[1].Load() != told {
			f.Error("the slow read of the Store changed the current token")
		}
	})
}

func TestChangeWhileAChangeIsLookedUp(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) { p.latency = 50 * time.Millisecond })
		f.wantEverywhere("token-1")
		f.links[1].set(func(l *link) { l.latency = 200 * time.Millisecond })
		f.links[1].tell(func(news cache.News) { news.Changed(f.provider.TokenKey()) })
		f.pass(10 * time.Millisecond)
		f.wantReportAt(0, "token-1", "token-2")
		f.pass(500 * time.Millisecond)
		f.wantAt("token-2", 1)
	})
}

func TestNewerTokenThatComesDuringTheCommit(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) { p.latency = 50 * time.Millisecond })
		f.wantEverywhere("token-1")
		f.links[0].set(func(l *link) {
			l.before = func(trip string) {
				l.set(func(l *link) { l.latency = map[string]time.Duration{tripCommit: 200 * time.Millisecond}[trip] })
			}
		})
		time.AfterFunc(100*time.Millisecond, func() {
			f.shared.endLeases()
			f.wantReportAt(1, "token-2", "token-3")
		})
		f.wantReportAt(0, "token-1", "token-3") // replica 0 stores token-2, and the reply of the Store is late
		f.wantAt("token-3", 0)
	})
}

func TestTokenThatComesWhileItIsReported(t *testing.T) {
	inFleet(t, 1, func(f *fleet) {
		f.wantAt("token-1", 0)
		f.pass(time.Second)
		newer := *f.current(0)
		newer.Value, newer.RequestedAt = newValue("newer"), time.Now()
		arrives := func() {
			f.restore(&newer)
			f.links[0].tell(func(news cache.News) { news.Changed(f.provider.TokenKey()) })
			synctest.Wait()
		}
		f.beforeMatching.Store(&arrives)
		current, _, err := f.fleet[0].Replace(f.Context(), f.provider, "newer")
		if err != nil || current.Value.Reveal() != "token-2" {
			f.Errorf("the report is answered with error %v, or with the wrong token; want token-2", err)
		}
		f.wantAt("token-2", 0)
	})
}

func TestNewsMissedAgainAndAgain(t *testing.T) {
	inFleet(t, 1, func(f *fleet) {
		f.wantAt("token-1", 0)
		f.shared.set((*sharedStore).forget)
		var misses atomic.Int64
		f.links[0].set(func(l *link) {
			l.before = func(trip string) {
				if trip == tripLook && misses.Add(1) <= 20 {
					l.miss()
				}
			}
		})
		f.links[0].miss()
		f.wantAt("token-1", 0)
		f.pass(time.Second)
		f.wantStored("token-1")
		f.wantRequests(1)
	})
}

func TestTokenThatComesWhileTheCacheCloses(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.links[0].set(func(l *link) {
			l.before = func(trip string) {
				if trip == tripCommit {
					go f.fleet[0].Close()
					<-time.After(10 * time.Millisecond)
				}
			}
		})
		_, _ = f.at(0)
		f.wantStored("token-1")
		f.wantAt("token-1", 1)
		f.wantRequests(1)
	})
}
