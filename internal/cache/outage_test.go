package cache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// backWithin is how soon callers must get a token after a provider outage has ended.
const backWithin = 10 * time.Second

// Outages of many lengths begin before the first token is issued, or before a renewal. At each
// replica, one caller calls again after the delay that the error contains.
func TestCallersAreServedSoonAfterAnOutage(t *testing.T) {
	for _, cold := range []bool{true, false} {
		for length := 7 * time.Second; length < 3*time.Hour; length = length*9/5 + 77*time.Millisecond {
			t.Run(fmt.Sprintf("cold %v, %v", cold, length), func(t *testing.T) {
				inFleet(t, 3, func(f *fleet) {
					f.provider.set(func(p *provider) { p.latency = 0 })
					if !cold {
						f.wantEverywhere("token-1")
						f.pass(renewal - time.Second)
					}
					f.provider.set(failing(unavailable))
					restored := time.Now().Add(length)
					time.AfterFunc(length, func() { f.provider.set(working) })
					together(len(f.fleet), func(i int) {
						for {
							_, err := f.at(i)
							if err == nil && !time.Now().Before(restored) {
								break
							}
							wait := time.Second
							if err != nil {
								f.checkReason(err, fault.ProviderUnavailable)
								wait = fault.From(err).RetryDelay
							}
							<-time.After(wait)
						}
						if late := time.Since(restored); late > backWithin {
							f.Errorf("replica %d got a token only %v after the end of the outage", i, late)
						}
					})
				})
			})
		}
	}
}

// During an outage, a single call is made, which fails. After the failed call, no more token
// requests are made.
func TestNoRequestsWithoutCalls(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		f.provider.set(failing(unavailable))
		_, err := f.at(0)
		f.checkReason(err, fault.ProviderUnavailable)
		before := f.provider.count()
		f.pass(24 * time.Hour)
		f.wantRequests(before)
		if _, err := f.at(1); fault.From(err).RetryDelay > backWithin {
			f.Errorf("the retry delay of the first call after a day is %v", fault.From(err).RetryDelay)
		}
		f.wantRequests(before + 1)
	})
}

// A provider asks for a wait that is longer than the longest back-off.
func TestRetryAfterIsNotCutShort(t *testing.T) {
	for _, reason := range []fault.Reason{fault.ProviderUnavailable, fault.ProviderRateLimited, fault.CredentialRejected} {
		inBubble(t, 1, func(w *world) {
			w.provider.set(func(p *provider) { p.latency = 0 })
			w.provider.set(failing(fault.New(reason, "later").WithRetryDelay(10 * time.Minute)))
			for n := range 3 {
				w.wantError(reason, 10*time.Minute)
				w.wantRequests(n + 1)
				w.pass(10*time.Minute - time.Millisecond)
				w.wantError(reason, time.Millisecond)
				w.wantRequests(n + 1)
				w.pass(time.Millisecond)
			}
		})
	}
}

// Renewals fail for hours before the token expires. No caller waits for a renewal, so the provider
// receives one request a minute.
func TestCalmRenewalsBackOffFurther(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) { p.lifetime, p.window, p.latency = 4*time.Hour, 2*time.Hour, 0 })
		w.want("token-1")
		w.provider.set(failing(unavailable))
		w.pass(3*time.Hour + 58*time.Minute)
		if n := w.provider.count(); n < 110 || n > 130 {
			w.Errorf("%d token requests in two hours without waiting callers, want about 120", n)
		}
		w.want("token-1")
	})
}

// One caller waits for a forced renewal, while other callers have a valid token.
func TestFailedReportDoesNotDelayTheNext(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.provider.set(failing(unavailable))
		for range 10 {
			_, _, err := w.report("token-1")
			w.checkReason(err, fault.ProviderUnavailable)
			wait := fault.From(err).RetryDelay
			if wait > backWithin {
				w.Errorf("the retry delay of the report is %v", wait)
			}
			w.pass(wait)
		}
		w.want("token-1")
	})
}

// While the renewals of one replica fail at growing intervals, a token is reported to another
// replica. The report waits no longer than any other call.
func TestReportsDoNotWaitForRenewals(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) { p.lifetime, p.window, p.latency = 4*time.Hour, 2*time.Hour, 0 })
		f.wantEverywhere("token-1")
		f.provider.set(failing(unavailable))
		f.pass(2*time.Hour + 30*time.Minute)
		before := f.provider.count()
		for f.provider.count() == before {
			f.pass(time.Second)
		}
		f.provider.set(working)
		f.pass(backWithin)
		current, replaced, err := f.reportTo(f.fleet[1], "token-1")
		if err != nil || !replaced || current == "token-1" {
			f.Errorf("the report is answered with token %q, replaced %v, error %v", current, replaced, err)
		}
	})
}

// `late` makes a provider answer after the given latency, with tokens of the given lifetime.
func late(latency, lifetime time.Duration) func(*provider) {
	return func(p *provider) {
		p.latency = latency
		p.issue = func() *token.Token {
			return &token.Token{
				Value:       newValue(fmt.Sprintf("token-%d", p.requests)),
				RequestedAt: time.Now(), Delay: latency, Lifetime: lifetime,
			}
		}
	}
}

func down(p *provider) {
	p.latency, p.issue = 0, nil
	failing(unavailable)(p)
}

// The provider takes 8 seconds to issue a token that lives for 10 seconds. Later token requests
// fail. Each replica serves the token for exactly 10 seconds, counted from the provider's answer.
func TestLastResortCountsFromTheAnswer(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		f.provider.set(late(8*time.Second, 10*time.Second))
		if got, err := f.at(0); err != nil || got != "token-1" {
			f.Fatalf("%q, %v", got, err)
		}
		answered := f.elapsed()
		f.provider.set(down)
		for f.elapsed() < answered+10*time.Second {
			f.wantEverywhere("token-1")
			f.pass(250 * time.Millisecond)
		}
		for i := range f.fleet {
			_, err := f.at(i)
			f.checkReason(err, fault.ProviderUnavailable)
		}
	})
}

// The provider takes longer to answer than its tokens live. Callers get each token until its
// lifetime, counted from the provider's answer, is over. The replicas back off between token
// requests.
func TestTokenThatArrivesInItsMargin(t *testing.T) {
	inFleet(t, 3, func(f *fleet) {
		f.provider.set(late(6*time.Second, 5*time.Second))
		if got, err := f.at(0); err != nil || got != "token-1" {
			f.Fatalf("%q, %v", got, err)
		}
		f.wantRequests(1)
		for i := range f.fleet {
			f.within(0, func() {
				if got, err := f.at(i); err != nil || got != "token-1" {
					f.Errorf("replica %d serves token %q, error %v", i, got, err)
				}
			})
		}
		f.wantRequests(1) // there is only one request, because of the back-off
		for f.elapsed() < 10*time.Minute {
			together(len(f.fleet), func(i int) { _, _ = f.at(i) })
			f.pass(time.Second)
		}
		if n := f.provider.count(); n > 10*60/6 {
			f.Errorf("the fleet made %d token requests in ten minutes", n)
		}
	})
}
