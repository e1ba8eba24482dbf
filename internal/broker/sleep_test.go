package broker_test

import (
	"testing"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/clock/clocktest"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// inMachine runs a test with a broker that uses the clocks of a simulated machine, which the test
// can set. The machine's wall clock is two hours ahead of Go's clock.
func inMachine(t *testing.T, test func(w *world, machine *clocktest.Machine)) {
	t.Helper()
	inWorld(t, func(w *world) {
		w.broker.Close()
		w.tokens.Close()
		machine := clocktest.NewMachine()
		machine.Correct(2 * time.Hour)
		clock := machine.Clock()
		w.tokens = cache.New(cache.Options{
			Clock: clock, Logger: w.logger(),
			Versions: func(key string, t *token.Token) []string { return w.broker.VersionsOf(key, t) }, Changed: func(key string) { w.broker.TokenChanged(key) },
		})
		w.broker = w.newBroker(w.tokens, func(o *broker.Options) {
			o.Clock = clock
			o.TokenClient = strategies.NewTokenClient(strategies.TokenClientOptions{Transport: w.sim.RoundTripper(), Clock: clock})
		})
		test(w, machine)
	})
}

func (w *world) wantExpiry(from string, d *broker.Decoration, machine *clocktest.Machine, want time.Duration) {
	w.Helper()
	if d == nil {
		w.Errorf("%s: no decoration", from)
		return
	}
	if left := d.ExpireTime.Sub(machine.WallTime()); left != want {
		w.Errorf("%s: expires in %v, want %v", from, left, want)
	}
	if left := d.RefreshTime.Sub(machine.WallTime()); left <= 0 || left > want {
		w.Errorf("%s: the refresh time is in %v, want between 0 and %v", from, left, want)
	}
}

// wantExpiryEverywhere checks the decoration of `mail` that each kind of call returns.
func (w *world) wantExpiryEverywhere(machine *clocktest.Machine, want time.Duration) {
	w.Helper()
	got := w.get("mail")
	w.wantExpiry("get", got, machine, want)
	w.wantExpiry("batch", w.broker.GetBatch(w.Context(), nobody, []string{"mail"})[0].Decoration, machine, want)
	reported, outcome, err := w.broker.ReportRejection(w.Context(), nobody, "mail", "another", 401)
	if err != nil || outcome != broker.AlreadyReplaced {
		w.Errorf("the outcome of the report is %v (error: %v)", outcome, err)
	}
	w.wantExpiry("report", reported, machine, want)
	watch := w.watch("mail")
	defer watch.Close()
	w.wantExpiry("watch", watch.next(time.Second).Decoration, machine, want)
	if still := w.get("mail"); still.Version != got.Version {
		w.Error("the results contain different tokens")
	}
}

// `usable` is how long a token may be used after it was requested.
const usable = simulator.DefaultTokenLifetime - time.Minute

func TestExpiryFollowsTheWallClock(t *testing.T) {
	inMachine(t, func(w *world, machine *clocktest.Machine) {
		watch := w.watch("mail")
		defer watch.Close()
		w.wantExpiry("the first state", watch.next(time.Second).Decoration, machine, usable)
		w.wantExpiryEverywhere(machine, usable)
		w.pass(10 * time.Minute)
		machine.Correct(-2 * time.Hour)
		w.wantExpiryEverywhere(machine, usable-10*time.Minute)
		machine.Correct(-time.Minute)
		w.wantExpiryEverywhere(machine, usable-10*time.Minute)
		watch.wantNothing(30 * time.Minute) // the token has not changed
		w.wantRequests(1)
	})
}

func TestStaticMaterialFollowsTheWallClock(t *testing.T) {
	inMachine(t, func(w *world, machine *clocktest.Machine) {
		machine.Correct(-2 * time.Hour)
		d := w.get("board")
		if ahead := d.RefreshTime.Sub(machine.WallTime()); ahead != 5*time.Minute || !d.ExpireTime.IsZero() {
			t.Errorf("the refresh time is in %v, want 5m; it expires at %v, want never", ahead, d.ExpireTime)
		}
	})
}

func TestAnswerAfterSleep(t *testing.T) {
	for _, what := range []struct {
		name              string
		sleep, correction time.Duration
	}{
		{"sleep", 2 * time.Hour, 0},
		{"wall clock set forward", 0, 2 * time.Hour},
		{"sleep, and set back by as much", 2 * time.Hour, -2 * time.Hour},
	} {
		t.Run(what.name, func(t *testing.T) {
			inMachine(t, func(w *world, machine *clocktest.Machine) {
				before := w.get("mail")
				machine.Sleep(what.sleep)
				machine.Correct(what.correction)
				w.wantExpiryEverywhere(machine, usable)
				if w.get("mail").Version == before.Version {
					t.Error("a token that ended during the sleep is served")
				}
				w.wantRequests(2)
			})
		})
	}
}

func TestWatchAfterSleep(t *testing.T) {
	inMachine(t, func(w *world, machine *clocktest.Machine) {
		watch := w.watch("mail")
		defer watch.Close()
		before := watch.next(time.Second).Decoration
		watch.wantNothing(time.Second) // from now on, only timers cause the watch to compute states
		machine.Sleep(2 * time.Hour)
		after := watch.next(10 * time.Second).Decoration
		w.wantExpiry("the state after the sleep", after, machine, usable)
		if after != nil && after.Version == before.Version {
			t.Error("the watch sends a token that ended during the sleep")
		}
		watch.wantNothing(30 * time.Minute)
		w.wantRequests(2)
	})
}
