package cache_test

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/clock/clocktest"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// whileAway contains sudden changes of a machine's clocks.
var whileAway = []struct {
	name              string
	sleep, correction time.Duration
}{
	{"sleep", 2 * time.Hour, 0},
	{"wall clock set forward", 0, 2 * time.Hour},
	{"sleep, and set back by as much", 2 * time.Hour, -2 * time.Hour},
	{"sleep, and set forward", time.Hour, time.Hour},
}

// inSleepingFleet runs a test for each of the clock changes in whileAway. All replicas run on one
// machine, together with their Store. Tokens live for an hour.
func inSleepingFleet(t *testing.T, replicas int, test func(f *fleet, away func())) {
	t.Helper()
	for _, what := range whileAway {
		t.Run(what.name, func(t *testing.T) {
			inBubble(t, 0, func(w *world) {
				machine := clocktest.NewMachine()
				clock := machine.Clock()
				f := &fleet{world: w, shared: newSharedStore(clock)}
				w.provider.issue = func() *token.Token { // this function is called while the provider's mutex is locked
					return &token.Token{Value: newValue(fmt.Sprintf("token-%d", w.provider.requests)), RequestedAt: clock.Now(), Lifetime: time.Hour}
				}
				for range replicas {
					link := f.shared.connect()
					f.links = append(f.links, link)
					f.fleet = append(f.fleet, cache.New(cache.Options{
						Store: link, Clock: clock,
						Random: func() float64 { return 0 }, Logger: slog.New(slog.DiscardHandler),
					}))
				}
				synctest.Wait() // waits until all replicas follow the Store
				test(f, func() {
					machine.Sleep(what.sleep)
					machine.Correct(what.correction)
				})
			})
		})
	}
}

func TestTokenThatEndedDuringSleepIsNotServed(t *testing.T) {
	inSleepingFleet(t, 2, func(f *fleet, away func()) {
		f.wantEverywhere("token-1")
		away()
		for _, c := range f.fleet {
			if _, ok := c.Warm(f.provider); ok {
				t.Error("Warm returns a token that ended during the sleep")
			}
			if _, ok := c.Current(f.provider); ok {
				t.Error("Current returns a token that ended during the sleep")
			}
		}
		together(100, func(i int) { f.wantAt("token-2", i%2) })
		f.wantRequests(2)
	})
}

// The Store loses its data, so the replicas put their tokens into it again, but not a token that
// ended while the machine slept.
func TestTokenThatEndedDuringSleepIsNotShared(t *testing.T) {
	inSleepingFleet(t, 2, func(f *fleet, away func()) {
		f.wantEverywhere("token-1")
		f.shared.empty()
		f.pass(time.Second)
		f.wantStored("token-1")              // token-1 is put back as long as it has not ended
		f.provider.set(failing(unavailable)) // token requests fail, so that the replicas keep their tokens
		away()
		f.shared.set(func(s *sharedStore) { s.commits = nil })
		f.shared.empty()
		f.pass(time.Second)
		f.shared.set(func(s *sharedStore) {
			if len(s.commits) > 0 {
				t.Errorf("the Store has token %s, which ended during the sleep", s.commits[0])
			}
		})
		f.wantStored("")
	})
}

// A renewal was due while the machine slept. No calls are made after the machine wakes up.
func TestRenewalThatWasDueDuringSleep(t *testing.T) {
	inSleepingFleet(t, 1, func(f *fleet, away func()) {
		f.wantEverywhere("token-1")
		away()
		f.pass(10 * time.Second)
		f.wantRequests(2)
		if current, ok := f.fleet[0].Current(f.provider); !ok || current.Value.Reveal() != "token-2" {
			t.Error("the token is not renewed 10s after the machine woke up")
		}
	})
}

// The machine sleeps during a token request. Unlike the sources in package strategies, the test's
// provider does not check the clock.
func TestSleepDuringTheRequest(t *testing.T) {
	inSleepingFleet(t, 1, func(f *fleet, away func()) {
		time.AfterFunc(100*time.Millisecond, away)
		f.wantError(fault.ProviderUnavailable, time.Second)
		f.pass(2 * time.Second) // the wait after a failed attempt
		f.want("token-2")
		f.wantStored("token-2")
	})
}

// When the clock is set back, a token is served exactly until it ends.
func TestTokenOfABrokerWhoseClockIsSetBack(t *testing.T) {
	inBubble(t, 0, func(w *world) {
		machine := clocktest.NewMachine()
		clock := machine.Clock()
		w.provider.issue = func() *token.Token {
			return &token.Token{Value: newValue(fmt.Sprintf("token-%d", w.provider.requests)), RequestedAt: clock.Now(), Lifetime: time.Hour}
		}
		w.fleet = append(w.fleet, cache.New(cache.Options{Clock: clock, Random: func() float64 { return 0 }}))
		w.want("token-1")
		machine.Correct(-2 * time.Hour)
		w.want("token-1")
		w.pass(53 * time.Minute)
		w.wantRequests(1)
		w.pass(time.Minute)
		w.wantRequests(2) // the token is renewed in time
		w.want("token-2")
	})
}
