package cache_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
)

func (w *world) wantReport(value, want string, wantReplaced bool) {
	w.Helper()
	if got, replaced, err := w.report(value); err != nil || got != want || replaced != wantReplaced {
		w.Errorf("after %v the report of token %q is answered with token %q, replaced %v, error %v; want token %q, replaced %v",
			w.elapsed(), value, got, replaced, err, want, wantReplaced)
	}
}

func TestReportReplacesTheCurrentToken(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.wantReport("token-1", "token-2", true)
		w.want("token-2")
		w.wantReport("token-1", "token-2", false)
		w.wantReport("never-seen", "token-2", false)
		w.wantRequests(2)
	})
}

func TestReportWithoutAToken(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.wantReport("token-0", "token-1", false)
		w.wantRequests(1)
	})
}

func TestManyReportsMakeOneRequest(t *testing.T) {
	inBubble(t, 8, func(w *world) {
		for _, c := range w.fleet {
			if _, err := w.getFrom(w.Context(), c); err != nil {
				w.Fatal(err)
			}
		}
		var replaced atomic.Int64
		together(1000, func(i int) {
			got, was, err := w.reportTo(w.fleet[i%8], "token-1")
			if err != nil || got != "token-2" {
				w.Errorf("the answer to the report is token %q, error %v", got, err)
			}
			if was {
				replaced.Add(1)
			}
		})
		w.wantRequests(2)
		if replaced.Load() == 0 {
			w.Error("Replace has not returned true for any report")
		}
		// No replica that answered a report serves the reported token again.
		for _, c := range w.fleet {
			if got, err := w.getFrom(w.Context(), c); err != nil || got != "token-2" {
				w.Errorf("after the reports a replica serves token %q, error %v", got, err)
			}
		}
	})
}

func TestReportJoinsARenewalUnderWay(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.pass(renewal - 100*time.Millisecond) // the renewal is under way
		w.wantRequests(2)
		w.wantReport("token-1", "token-2", true)
		w.wantRequests(2)
	})
}

func TestReportThatJoinsAFetchOfTheSameTokenForcesAnother(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) {
			p.answer = func(n int) (string, error) { return []string{"same", "same", "other"}[n-1], nil }
		})
		w.want("same")
		w.pass(renewal - 100*time.Millisecond)
		w.wantReport("same", "other", true)
		w.wantRequests(3)
	})
}

func TestFailedReportKeepsTheToken(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.provider.set(failing(unavailable))
		_, _, err := w.report("token-1")
		w.checkFault(err, fault.ProviderUnavailable, time.Second)
		w.want("token-1")
		_, _, err = w.report("token-1")
		w.checkFault(err, fault.ProviderUnavailable, time.Second)
		w.wantRequests(2)
		w.provider.set(working)
		w.pass(time.Second)
		w.wantReport("token-1", "token-3", true)
	})
}

func TestReportOfATokenThatIsIssuedAgain(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) { p.answer = func(int) (string, error) { return "same", nil } })
		w.want("same")
		_, _, err := w.report("same")
		w.checkFault(err, fault.ProviderUnavailable, time.Second)
		w.want("same")
	})
}

func TestForcedRenewalsAreLimited(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.want("token-1")
		w.wantReport("token-1", "token-2", true)
		w.wantReport("token-2", "token-3", true)
		w.pass(time.Minute)
		w.wantReport("token-3", "token-4", true)
		_, _, err := w.report("token-4")
		w.checkFault(err, fault.RateLimited, 9*time.Minute-400*time.Millisecond)
		w.want("token-4")
		w.wantReport("token-3", "token-4", false) // a report of an earlier token is never limited
		w.wantRequests(4)
		w.pass(9 * time.Minute)
		w.wantReport("token-4", "token-5", true)
	})
}

func TestReportInTheMarginWithTheProviderDown(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.pass(renewal - time.Minute)
		w.provider.set(failing(unavailable))
		w.pass(expiry + time.Second - w.elapsed())
		if _, _, err := w.report("token-1"); err == nil {
			w.Error("the report of a token in its safety margin was answered although the provider was down")
		}
		w.want("token-1")
		synctest.Wait()
	})
}

// A stallingStore delays the result of the first Load until the channel `stall` is closed.
type stallingStore struct {
	cache.Store
	stall chan struct{}
	loads atomic.Int64
}

func (s *stallingStore) Load(ctx context.Context, key string) (cache.Record, error) {
	record, err := s.Store.Load(ctx, key)
	if s.loads.Add(1) == 1 {
		<-s.stall
	}
	return record, err
}

func TestSlowReadDoesNotBringARejectedTokenBack(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		shared := newMemory(clockwork.NewRealClock())
		slow := &stallingStore{Store: shared, stall: make(chan struct{})}
		first := cache.New(cache.Options{Store: shared, Versions: versionsOf})
		second := cache.New(cache.Options{Store: slow, Versions: versionsOf})
		w.fleet = append(w.fleet, first, second)
		for _, c := range []*cache.Cache{first, second} {
			if _, err := w.getFrom(w.Context(), c); err != nil {
				w.Fatal(err)
			}
		}
		late := make(chan string)
		go func() { // this call reads token-1, and returns late
			got, _, err := w.reportTo(second, "never-seen")
			if err != nil {
				w.Error(err)
			}
			late <- got
		}()
		synctest.Wait()
		if _, _, err := w.reportTo(first, "token-1"); err != nil {
			w.Fatal(err)
		}
		if got, _, err := w.reportTo(second, "token-1"); err != nil || got != "token-2" {
			w.Fatalf("the answer to the report is token %q, error %v", got, err)
		}
		close(slow.stall)
		<-late
		if got, err := w.getFrom(w.Context(), second); err != nil || got != "token-2" {
			w.Errorf("the reported token is served again: token %q, error %v", got, err)
		}
	})
}

// The provider issues the reported token again, with a lifetime that counts from the new request. A
// report causes one token request, and fails.
func TestReportedTokenIsIssuedAgainWithALongerLife(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.provider.set(func(p *provider) {
			p.latency = 1500 * time.Millisecond
			p.answer = func(int) (string, error) { return "A", nil }
		})
		f.wantEverywhere("A")
		f.pass(10 * time.Second)
		if _, replaced, err := f.reportTo(f.fleet[0], "A"); replaced || err == nil {
			f.Errorf("the report ended with replaced %v, error %v; want an error", replaced, err)
		}
		f.wantRequests(2)
	})
}

// The call that reported a token ends before the token is replaced. The provider then issues the
// reported token again.
func TestCancelledReportIsRemembered(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) {
			p.latency = 2 * time.Second
			p.answer = func(n int) (string, error) { return []string{"A", "B", "A"}[n-1], nil }
		})
		w.want("A")
		w.pass(time.Minute)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		if _, _, err := w.fleet[0].Replace(ctx, w.provider, "A"); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("the first report ended with %v, want context.DeadlineExceeded", err)
		}
		w.pass(5 * time.Second)
		if current, replaced, err := w.report("B"); err == nil {
			w.Errorf("the report of token B was answered with %q (replaced %v), want an error", current, replaced)
		}
	})
}
