package cache_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
)

type tally struct {
	mu    sync.Mutex
	seen  map[string]int
	waits []time.Duration
}

func (t *tally) note(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen[what]++
}

func (t *tally) Warm() cache.Counter         { return warmTally{t} }
func (t *tally) Answered(tier cache.Tier)    { t.note(fmt.Sprintf("tier %d", tier)) }
func (t *tally) Renewed(when cache.Renewal)  { t.note(fmt.Sprintf("renewal %d", when)) }
func (t *tally) Forced(outcome cache.Forced) { t.note(fmt.Sprintf("forced %d", outcome)) }

func (t *tally) RenewalFailed(error, time.Time, time.Time) {}

func (t *tally) Waited(duration time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits = append(t.waits, duration)
}

func (t *tally) take() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := maps.Clone(t.seen)
	clear(t.seen)
	return seen
}

func tier(t cache.Tier) string       { return fmt.Sprintf("tier %d", t) }
func renewed(r cache.Renewal) string { return fmt.Sprintf("renewal %d", r) }
func forcedTo(f cache.Forced) string { return fmt.Sprintf("forced %d", f) }

// wantSeen checks how often the Observer's methods were called since the last call of wantSeen.
func (w *world) wantSeen(t *tally, want map[string]int) {
	w.Helper()
	w.pass(0)
	if diff := cmp.Diff(want, t.take()); diff != "" {
		w.Errorf("after %v the observer received (-want +got):\n%s", w.elapsed(), diff)
	}
}

func observed(t *testing.T, test func(*world, *tally)) {
	t.Helper()
	inBubble(t, 0, func(w *world) {
		seen := &tally{seen: map[string]int{}}
		w.fleet = append(w.fleet, cache.New(cache.Options{
			Random:   func() float64 { return 0 },
			Versions: versionsOf,
			Observe:  func(cache.Source) cache.Observer { return seen },
		}))
		test(w, seen)
	})
}

func TestObserverOfAnswers(t *testing.T) {
	observed(t, func(w *world, seen *tally) {
		w.want("token-1")
		w.wantSeen(seen, map[string]int{tier(cache.FromRefresh): 1})
		w.want("token-1")
		w.wantSeen(seen, map[string]int{tier(cache.FromMemory): 1})
		w.provider.set(failing(unavailable))
		w.pass(expiry) // the renewals of the token fail
		w.want("token-1")
		w.wantSeen(seen, map[string]int{tier(cache.FromMargin): 1, renewed(cache.Late): 1})
		w.pass(end - expiry)
		_, _ = w.get()
		w.pass(2 * time.Minute) // the back-off has ended
		_, _ = w.get()
		w.wantSeen(seen, map[string]int{tier(cache.FromFailure): 1, tier(cache.RefreshFailed): 1})
		w.pass(2 * time.Minute)
		w.provider.set(working)
		brief, cancel := context.WithTimeout(w.Context(), time.Millisecond)
		defer cancel()
		_, _ = w.getFrom(brief, w.fleet[0])
		w.wantSeen(seen, map[string]int{tier(cache.GaveUp): 1})
	})
}

func TestObserverOfWaits(t *testing.T) {
	observed(t, func(w *world, seen *tally) {
		w.want("token-1")
		w.want("token-1")
		if want := []time.Duration{200 * time.Millisecond}; !cmp.Equal(seen.waits, want) {
			w.Errorf("the reported waiting times are %v, want %v", seen.waits, want)
		}
	})
}

func TestObserverOfRenewals(t *testing.T) {
	observed(t, func(w *world, seen *tally) {
		w.want("token-1")
		w.pass(renewal + time.Second)
		w.wantSeen(seen, map[string]int{tier(cache.FromRefresh): 1, renewed(cache.Early): 1})
		w.pass(expiry) // no caller received the second token
		w.want("token-3")
		w.wantSeen(seen, map[string]int{tier(cache.FromRefresh): 1})
	})
}

func TestRenewalAtTheMarginIsNotEarly(t *testing.T) {
	observed(t, func(w *world, seen *tally) {
		w.provider.set(func(p *provider) { p.ends = true })
		w.want("token-1")
		w.pass(expiry)
		w.wantRequests(2)
		w.wantSeen(seen, map[string]int{tier(cache.FromRefresh): 1})
	})
}

func TestObserverOfForcedRenewals(t *testing.T) {
	observed(t, func(w *world, seen *tally) {
		w.want("token-1")
		_, _, _ = w.report("token-1")
		w.provider.set(func(p *provider) { p.answer = func(int) (string, error) { return "token-2", nil } })
		_, _, _ = w.report("token-2")
		w.pass(time.Minute)
		w.provider.set(failing(unavailable))
		_, _, _ = w.report("token-2")
		w.pass(time.Minute)
		w.provider.set(working)
		for _, value := range []string{"token-2", "token-5", "token-6"} {
			_, _, _ = w.report(value)
		}
		w.wantSeen(seen, map[string]int{
			tier(cache.FromRefresh):         1,
			forcedTo(cache.ForcedReplaced):  3,
			forcedTo(cache.ForcedSameToken): 1,
			forcedTo(cache.ForcedFailed):    1,
			forcedTo(cache.ForcedLimited):   1,
		})
	})
}

func TestServedTokens(t *testing.T) {
	observed(t, func(w *world, _ *tally) {
		served := func() (values []string) {
			for source, token := range w.fleet[0].Served() {
				values = append(values, source.TokenKey()+" "+token.Value.Reveal())
			}
			return values
		}
		w.want("token-1")
		if got, want := served(), []string{"3f token-1"}; !cmp.Equal(got, want) {
			w.Errorf("Served returns token %q, want %q", got, want)
		}
		w.pass(renewal + time.Second)
		if got := served(); got != nil {
			w.Errorf("Served returns token %q, which no caller received", got)
		}
		w.want("token-2")
		w.provider.set(failing(fault.New(fault.ProviderUnavailable, "the provider is down")))
		w.pass(end)
		if got := served(); got != nil {
			w.Errorf("Served returns token %q, which has ended", got)
		}
	})
}

type warmTally struct{ *tally }

func (t warmTally) Inc() { t.Answered(cache.FromMemory) }
