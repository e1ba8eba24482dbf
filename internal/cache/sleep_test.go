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

// whileAway is what happens to a machine's clocks at once.
var whileAway = []struct {
	name              string
	sleep, correction time.Duration
}{
	{"sleep", 2 * time.Hour, 0},
	{"wall clock set forward", 0, 2 * time.Hour},
	{"sleep, and set back by as much", 2 * time.Hour, -2 * time.Hour},
	{"sleep, and set forward", time.Hour, time.Hour},
}

// inSleepingFleet runs a test for each of whileAway, with so many replicas on one machine that
// share a Store there. Tokens live for an hour.
func inSleepingFleet(t *testing.T, replicas int, test func(f *fleet, away func())) {
	t.Helper()
	for _, what := range whileAway {
		t.Run(what.name, func(t *testing.T) {
			inBubble(t, 0, func(w *world) {
				machine := clocktest.NewMachine()
				clock := machine.Clock()
				f := &fleet{world: w, shared: newSharedStore(clock)}
				w.provider.issue = func() *token.Token { // the provider holds its lock
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
				synctest.Wait() // all follow
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
				t.Error("the token is at hand that ended during the sleep")
			}
			if _, ok := c.Current(f.provider); ok {
				t.Error("the token counts as valid that ended during the sleep")
			}
		}
		together(100, func(i int) { f.wantAt("token-2", i%2) })
		f.wantRequests(2)
	})
}

// TestTokenThatEndedDuringSleepIsNotShared has the Store lose what it had, so that replicas
// put into it what they hold.
func TestTokenThatEndedDuringSleepIsNotShared(t *testing.T) {
	inSleepingFleet(t, 2, func(f *fleet, away func()) {
		f.wantEverywhere("token-1")
		f.shared.empty()
		f.pass(time.Second)
		f.wantStored("token-1")              // as long as it has not ended
		f.provider.set(failing(unavailable)) // the replicas go on holding what they have
		away()
		f.shared.set(func(s *sharedStore) { s.commits = nil })
		f.shared.empty()
		f.pass(time.Second)
		f.shared.set(func(s *sharedStore) {
			if len(s.commits) > 0 {
				t.Errorf("%s is stored, which ended during the sleep", s.commits[0])
			}
		})
		f.wantStored("")
	})
}

// TestRenewalThatWasDueDuringSleep has nobody ask after the wake.
func TestRenewalThatWasDueDuringSleep(t *testing.T) {
	inSleepingFleet(t, 1, func(f *fleet, away func()) {
		f.wantEverywhere("token-1")
		away()
		f.pass(10 * time.Second)
		f.wantRequests(2)
		if held, ok := f.fleet[0].Current(f.provider); !ok || held.Value.Reveal() != "token-2" {
			t.Error("the token is not renewed 10s after the wake")
		}
	})
}

// TestSleepDuringTheRequest has the machine sleep while the answer is on its way. The provider
// of the test does not look at the clock, as package strategies does.
func TestSleepDuringTheRequest(t *testing.T) {
	inSleepingFleet(t, 1, func(f *fleet, away func()) {
		time.AfterFunc(100*time.Millisecond, away)
		f.wantError(fault.ProviderUnavailable, time.Second)
		f.pass(2 * time.Second) // as after any failed attempt
		f.want("token-2")
		f.wantStored("token-2")
	})
}

// TestTokenOfABrokerWhoseClockIsSetBack serves a token for as long as it lives, and no longer.
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
		w.wantRequests(2) // it is renewed in time
		w.want("token-2")
	})
}
