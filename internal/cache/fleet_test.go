package cache_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// news contains the ways in which the other replicas learn of a change in the Store.
var news = map[string]func(*sharedStore){
	"at once": func(s *sharedStore) { s.newsDelay = 0 },
	"late":    func(s *sharedStore) { s.newsDelay = 100 * time.Millisecond },
	"lost":    func(s *sharedStore) { s.newsLost = true },
}

func TestColdFleetOverANetwork(t *testing.T) {
	for name, tell := range news {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 8, func(f *fleet) {
				f.shared.set(tell)
				together(8*200, func(i int) { f.wantAt("token-1", i%8) })
				f.wantRequests(1)
			})
		})
	}
}

func TestFleetRenewsOnce(t *testing.T) {
	for name, tell := range news {
		for _, lifetime := range []time.Duration{10 * time.Second, 5 * time.Minute, 24 * time.Hour} {
			t.Run(fmt.Sprint(lifetime, " ", name), func(t *testing.T) {
				inFleet(t, 8, func(f *fleet) {
					f.shared.set(tell)
					f.provider.set(func(p *provider) { p.lifetime = lifetime })
					f.wantEverywhere("token-1")
					for f.provider.count() < 6 {
						f.pass(lifetime / 100)
						f.within(0, func() { // the call returns at once, because no caller waits for a renewal
							together(8, func(i int) { f.wantValid(i) })
						})
					}
					// Every token request after the first one was a renewal.
					first := (&token.Token{Lifetime: lifetime}).RenewTime(0).Sub(time.Time{})
					if f.elapsed() < 5*first {
						f.Errorf("the fleet made six token requests in %v, want a longer time", f.elapsed())
					}
				})
			})
		}
	}
}

func (f *fleet) wantValid(i int) {
	f.Helper()
	t, err := f.fleet[i].Token(f.Context(), f.provider)
	if err != nil {
		f.Errorf("after %v the call to replica %d fails: %v", f.elapsed(), i, err)
	} else if !time.Now().Before(t.ExpireTime()) {
		f.Errorf("after %v replica %d serves a token that has expired", f.elapsed(), i)
	}
}

func TestWideWindowOutlivesAnOutageOfTheProvider(t *testing.T) {
	inFleet(t, 8, func(f *fleet) {
		f.provider.set(func(p *provider) { p.window = 40 * time.Minute }) // the Cache shortens this renewal window to half the lifetime
		f.wantEverywhere("token-1")
		f.pass(28 * time.Minute)
		f.provider.set(failing(unavailable))
		for f.elapsed() < 58*time.Minute {
			f.within(0, func() { f.wantEverywhere("token-1") })
			f.pass(time.Second)
		}
		f.provider.set(working)
		f.pass(75 * time.Second) // longer than the longest back-off
		for i := range f.fleet {
			f.within(0, func() { f.wantValid(i) })
		}
		if n := f.provider.count(); n < 20 || n > 40 {
			f.Errorf("the fleet made %d token requests in an outage of 30 minutes", n)
		}
		for i, l := range f.links {
			if n := l.reads.Load(); n > 500 {
				f.Errorf("replica %d read the Store %d times in 30 minutes", i, n)
			}
		}
	})
}

func TestProviderDownUntilAfterTheEnd(t *testing.T) {
	inFleet(t, 8, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.pass(renewal - time.Minute)
		f.provider.set(failing(unavailable))
		for f.elapsed() < end-2*time.Second {
			f.wantEverywhere("token-1")
			f.pass(time.Second)
		}
		f.pass(end - f.elapsed())
		var retry time.Duration
		for f.elapsed() < end+10*time.Minute {
			for i := range f.fleet {
				_, err := f.at(i)
				f.checkReason(err, fault.ProviderUnavailable)
				retry = fault.From(err).RetryDelay
				if retry <= 0 || retry > 10*time.Second {
					f.Errorf("after %v replica %d says to retry in %v", f.elapsed(), i, retry)
				}
			}
			f.pass(time.Second)
		}
		// A single replica would make about 19 token requests until the token ends, and then one
		// every 8 to 10 s.
		if n := f.provider.count(); n > 22+76 {
			f.Errorf("the fleet made %d token requests", n)
		}
		f.provider.set(working)
		f.pass(retry)
		before := f.provider.count()
		value, err := f.at(0)
		if err != nil {
			f.Errorf("a call fails although the provider works again: %v", err)
		}
		f.wantEverywhere(value)
		f.wantRequests(before + 1)
	})
}

func TestThousandReportsInAFleet(t *testing.T) {
	for name, tell := range news {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 8, func(f *fleet) {
				f.shared.set(tell)
				f.wantEverywhere("token-1")
				together(1000, func(i int) { f.wantReportAt(i%8, "token-1", "token-2") })
				f.wantEverywhere("token-2")
				together(1000, func(i int) { f.wantReportAt(i%8, "token-1", "token-2") })
				f.wantRequests(2)
			})
		})
	}
}

func TestReportJoinsTheRenewalOfAnotherReplica(t *testing.T) {
	inFleet(t, 8, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.pass(renewal - f.elapsed() + 100*time.Millisecond)
		f.wantRequests(2) // the renewal of replica 0 is under way
		together(8*10, func(i int) { f.wantReportAt(i%8, "token-1", "token-2") })
		f.wantRequests(2)
	})
}

func TestReportsWithTheProviderDown(t *testing.T) {
	inFleet(t, 8, func(f *fleet) {
		f.wantEverywhere("token-1")
		f.provider.set(failing(unavailable))
		together(1000, func(i int) {
			_, _, err := f.reportTo(f.fleet[i%8], "token-1")
			f.checkReason(err, fault.ProviderUnavailable)
		})
		f.wantRequests(2)
		f.wantEverywhere("token-1")
	})
}

func TestOneReportAndOneRetrySaveARequest(t *testing.T) {
	for name, tell := range news {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 8, func(f *fleet) {
				f.shared.set(tell)
				f.provider.set(func(p *provider) { p.ends, p.lifetime, p.latency = true, 5*time.Minute, 50*time.Millisecond })
				var reports atomic.Int64
				revoked := 0
				for f.elapsed() < 20*time.Minute {
					together(8, func(i int) { f.useToken(i, &reports) })
					f.pass(100 * time.Millisecond)
					if f.elapsed() > time.Duration(revoked+1)*4*time.Minute {
						revoked++
						f.provider.set(func(p *provider) { p.newest = "" })
					}
				}
				// There is one token request for each token that was revoked, and one for each
				// token that reached its safety margin.
				if n := f.provider.count(); n > 1+revoked+4 {
					f.Errorf("the fleet made %d token requests in 20 minutes with tokens that live for 5 minutes; %d tokens were revoked", n, revoked)
				}
				if reports.Load() == 0 {
					f.Error("nothing was reported")
				}
			})
		})
	}
}

// useToken sends a request with a token, which the provider checks a little later. If the provider
// rejects the token, useToken reports it, and then checks the token that the report returns.
func (f *fleet) useToken(i int, reports *atomic.Int64) {
	f.Helper()
	value, err := f.at(i)
	if err != nil {
		f.Errorf("a call for a token fails: %v", err)
		return
	}
	<-time.After(100 * time.Millisecond)
	if f.provider.accepts(value) {
		return
	}
	reports.Add(1)
	value, _, err = f.reportTo(f.fleet[(i+3)%8], value)
	if err != nil {
		f.Errorf("the report of a rejected token fails: %v", err)
		return
	}
	if !f.provider.accepts(value) {
		f.Errorf("after %v the provider does not accept the successor either", f.elapsed())
	}
}

func TestTokenWhoseLifeIsExtended(t *testing.T) {
	for name, tell := range news {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 8, func(f *fleet) {
				f.shared.set(tell)
				f.provider.set(func(p *provider) {
					p.lifetime = 5 * time.Minute
					p.answer = func(int) (string, error) { return "same", nil }
				})
				for f.elapsed() < 20*time.Minute {
					together(8, func(i int) { f.wantValid(i) })
					f.pass(time.Second)
				}
				if n := f.provider.count(); n > 6 {
					f.Errorf("the fleet made %d token requests while the provider issued the same token, want one every 220 s", n)
				}
			})
		})
	}
}

func TestColdReplicaGetsATokenInItsMargin(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		f.wantAt("token-1", 0)
		f.pass(renewal - time.Minute)
		f.provider.set(failing(unavailable))
		f.pass(expiry + time.Second - f.elapsed())
		f.wantAt("token-1", 1) // replica 1 makes a token request, which fails
		f.wantAt("token-1", 2) // replica 2 finds the stored failure
		f.pass(end - f.elapsed())
		_, err := f.at(1)
		f.checkReason(err, fault.ProviderUnavailable)
	})
}

func TestColdReplicaInTheMarginDoesNotHangWithAnother(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.wantAt("token-1", 0)
		f.pass(renewal - time.Minute)
		f.provider.set(func(p *provider) { p.latency = time.Hour })
		f.pass(expiry - f.elapsed())
		go func() { _, _ = f.at(0) }() // replica 0 has the lease, and its token request hangs
		f.pass(time.Second)
		f.within(time.Second, func() { f.wantAt("token-1", 1) })
	})
}

func TestExtendedLifeIsAdopted(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) {
			p.answer = func(int) (string, error) { return "same", nil }
		})
		f.wantEverywhere("same")
		f.pass(renewal - f.elapsed() + time.Second) // replica 0 renews first
		f.wantRequests(2)
		if left := time.Until(f.current(1).End()); left < 59*time.Minute {
			f.Errorf("in replica 1 the remaining life of the token is %v", left)
		}
	})
}

func TestTokenThatIsFoundWhileAnotherHangs(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) { p.latency = time.Hour })
		go func() { _, _ = f.at(0) }() // replica 0 has the lease, and its token request hangs
		f.pass(time.Second)
		time.AfterFunc(2*time.Second, func() {
			f.restore(&token.Token{Value: newValue("old"), RequestedAt: time.Now().Add(-expiry), Lifetime: time.Hour})
		})
		f.wantAt("old", 1) // replica 1 serves the old token although its refresh failed
	})
}
