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
	"github.com/authmaterial/broker/internal/token"
)

// A token with a lifetime of one hour expires after 59 minutes, and is renewed after 54 minutes at
// the earliest.
const (
	renewal = 54 * time.Minute
	expiry  = 59 * time.Minute
	end     = 60 * time.Minute
)

func TestColdCallersShareOneRequest(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		together(1000, func(int) { w.want("token-1") })
		w.wantRequests(1)
	})
}

func TestColdFleetMakesOneRequest(t *testing.T) {
	inBubble(t, 8, func(w *world) {
		together(8*200, func(i int) {
			if got, err := w.getFrom(w.Context(), w.fleet[i%8]); err != nil || got != "token-1" {
				w.Errorf("got %q, %v", got, err)
			}
		})
		w.wantRequests(1)
	})
}

func TestRefreshGoesOnWithoutItsFirstCaller(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		leader, giveUp := context.WithCancel(w.Context())
		left := make(chan error)
		go func() {
			_, err := w.getFrom(leader, w.fleet[0])
			left <- err
		}()
		synctest.Wait() // waits until the first caller's token request is under way
		time.AfterFunc(50*time.Millisecond, giveUp)
		together(100, func(int) { w.want("token-1") })
		if err := <-left; !errors.Is(err, context.Canceled) {
			w.Errorf("the error of the first caller is %v, want context.Canceled", err)
		}
		w.wantRequests(1)
	})
}

func TestCallersHonourTheirOwnDeadline(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) { p.latency = 5 * time.Second })
		short, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		_, err := w.getFrom(short, w.fleet[0])
		if !errors.Is(err, context.DeadlineExceeded) || w.elapsed() != time.Second {
			w.Errorf("after %v the error is %v, want context.DeadlineExceeded after 1s", w.elapsed(), err)
		}
		w.pass(4 * time.Second)
		w.want("token-1") // the refresh continued
		w.wantRequests(1)
	})
}

type countingStore struct {
	cache.Store
	trips atomic.Int64
}

func (s *countingStore) Load(ctx context.Context, key string) (cache.Record, error) {
	s.trips.Add(1)
	return s.Store.Load(ctx, key)
}

func (s *countingStore) Lock(ctx context.Context, key string, enough func(cache.Record) bool) (cache.Record, cache.Lease, error) {
	s.trips.Add(1)
	return s.Store.Lock(ctx, key, enough)
}

func TestWarmCallAsksNoStore(t *testing.T) {
	inBubble(t, 0, func(w *world) {
		store := &countingStore{Store: newMemory(clockwork.NewRealClock())}
		w.fleet = append(w.fleet, cache.New(cache.Options{Store: store}))
		w.want("token-1")
		cold := store.trips.Load()
		for range 100 {
			w.want("token-1")
		}
		if got := store.trips.Load(); got != cold {
			w.Errorf("100 calls for a token in memory made %d reads or writes of the Store", got-cold)
		}
	})
}

func TestRenewalIsEarlyAndNoCallerWaits(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.pass(renewal - 201*time.Millisecond)
		w.wantRequests(1)
		w.pass(time.Millisecond)
		w.wantRequests(2)
		before := w.elapsed()
		w.want("token-1") // the token request is under way
		if w.elapsed() != before {
			w.Errorf("a caller waited %v for a renewal", w.elapsed()-before)
		}
		w.pass(200 * time.Millisecond)
		w.want("token-2")
	})
}

func TestOneReplicaRenewsForAll(t *testing.T) {
	inBubble(t, 8, func(w *world) {
		for round := range 3 {
			want := []string{"token-1", "token-2", "token-3"}[round]
			for _, c := range w.fleet {
				if got, err := w.getFrom(w.Context(), c); err != nil || got != want {
					w.Errorf("round %d: got token %q, error %v; want token %q", round, got, err, want)
				}
			}
			w.wantRequests(round + 1)
			w.pass(renewal + time.Second)
		}
	})
}

func TestUnusedTokenIsNotRenewed(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.pass(renewal) // a caller has received the first token, so the token is renewed
		w.pass(renewal) // no caller has received the second token, so the token is not renewed
		w.wantRequests(2)
		w.want("token-2") // the second token is in its renewal window: the caller gets it at once, and its renewal starts
		w.pass(200 * time.Millisecond)
		w.wantRequests(3)
		w.want("token-3")
		w.pass(24 * time.Hour)
		w.wantRequests(4)
	})
}

func TestShortAndLongTokens(t *testing.T) {
	for lifetime, renewedAfter := range map[time.Duration]time.Duration{
		// The safety margin is one minute, or a tenth of the lifetime if that is shorter. The
		// renewal window is five minutes, or a sixth of the lifetime if that is shorter.
		10 * time.Second: 9*time.Second - 10*time.Second/6,
		5 * time.Minute:  270*time.Second - 50*time.Second,
		24 * time.Hour:   24*time.Hour - 6*time.Minute,
	} {
		t.Run(lifetime.String(), func(t *testing.T) {
			inBubble(t, 1, func(w *world) {
				w.provider.set(func(p *provider) { p.lifetime, p.latency = lifetime, 0 })
				w.want("token-1")
				w.pass(renewedAfter - time.Millisecond)
				w.wantRequests(1)
				w.pass(time.Millisecond)
				w.wantRequests(2)
			})
		})
	}
}

func TestEndedTokenIsRenewedAtTheMargin(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) { p.ends = true })
		w.want("token-1")
		w.pass(expiry - 201*time.Millisecond)
		w.wantRequests(1)
		w.pass(time.Millisecond)
		w.wantRequests(2)
		w.want("token-2") // the call waits, because the first token ends when the second token is issued
		w.wantRequests(2)
	})
}

func TestTokenIsServedWhileItIsValidAndNeverLonger(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.pass(renewal - time.Minute)
		w.provider.set(failing(unavailable))
		for w.elapsed() < end-time.Second {
			w.want("token-1")
			w.pass(time.Second)
		}
		w.pass(end - w.elapsed())
		if got, err := w.get(); err == nil {
			w.Errorf("after %v a token that has ended is served: %q", w.elapsed(), got)
		}
		// One token request is made at the start of the renewal window. After that request, the
		// requests become rarer, down to one request a minute. In the safety margin, the back-off
		// allows one request every 8 s.
		if got := w.provider.count(); got < 12 || got > 22 {
			w.Errorf("%d token requests while the provider was down, want about 19", got)
		}
		w.provider.set(working)
		w.pass(10 * time.Second) // the longest back-off
		if _, err := w.get(); err != nil {
			w.Errorf("a call fails although the provider works again: %v", err)
		}
	})
}

func TestCallerInTheMarginDoesNotHangWithTheProvider(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.provider.set(func(p *provider) { p.latency = time.Hour })
		w.pass(expiry + time.Second)
		before := w.elapsed()
		w.want("token-1")
		if waited := w.elapsed() - before; waited > time.Second {
			w.Errorf("a caller with a valid token waited %v", waited)
		}
	})
}

func TestTokenThatEndsWhileItsCallerWaits(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.provider.set(func(p *provider) { p.latency = 3 * time.Second })
		w.pass(end - 500*time.Millisecond)
		before := w.elapsed()
		if got, err := w.get(); err != nil || got == "token-1" {
			w.Errorf("after %v: got token %q, error %v; want a token that has not ended", w.elapsed(), got, err)
		}
		if waited := w.elapsed() - before; waited > 3*time.Second {
			w.Errorf("the caller waited %v", waited)
		}
	})
}

func TestRefusalIsRemembered(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		refusal := fault.New(fault.CredentialRejected, "SendPulse refused the credential")
		w.provider.set(failing(refusal))
		w.provider.set(func(p *provider) { p.latency = 0 })
		for n, wait := range []time.Duration{
			30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute,
		} {
			together(100, func(int) { w.wantError(fault.CredentialRejected, wait) })
			w.wantRequests(n + 1)
			w.pass(wait - time.Millisecond)
			w.wantError(fault.CredentialRejected, time.Millisecond)
			w.wantRequests(n + 1)
			w.pass(time.Millisecond)
		}
		w.provider.set(working)
		w.want("token-8")
	})
}

func TestForgetFailures(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.provider.set(failing(fault.New(fault.CredentialRejected, "refused")))
		w.wantError(fault.CredentialRejected, 30*time.Second)
		w.provider.set(working)
		w.wantError(fault.CredentialRejected, 30*time.Second)
		if err := w.fleet[0].ForgetFailures(w.Context()); err != nil {
			w.Fatal(err)
		}
		w.want("token-2")
	})
}

func TestTemporaryFailureBacksOff(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(failing(unavailable))
		w.provider.set(func(p *provider) { p.latency = 0 })
		for n, wait := range []time.Duration{1, 2, 4, 8, 8, 8, 8, 8} {
			w.wantError(fault.ProviderUnavailable, wait*time.Second)
			w.wantRequests(n + 1)
			w.pass(wait * time.Second)
		}
		// A delay that the provider asks for is used if it is longer than the computed delay.
		w.provider.set(failing(fault.New(fault.ProviderRateLimited, "slow down").WithRetryDelay(90 * time.Second)))
		w.wantError(fault.ProviderRateLimited, 90*time.Second)
		w.pass(90*time.Second - time.Millisecond)
		w.wantError(fault.ProviderRateLimited, time.Millisecond)
		w.wantRequests(9)
		// The broker's own rate limit sets the retry delay, and does not count as a failure of the
		// provider.
		w.pass(time.Millisecond)
		w.provider.set(failing(fault.New(fault.RateLimited, "too many").WithRetryDelay(time.Second)))
		w.wantError(fault.RateLimited, time.Second)
		w.pass(time.Second)
		w.wantError(fault.RateLimited, time.Second)
	})
}

func TestFailureOfOneReplicaIsShared(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.provider.set(failing(unavailable))
		w.wantError(fault.ProviderUnavailable, time.Second)
		_, err := w.getFrom(w.Context(), w.fleet[1])
		w.checkFault(err, fault.ProviderUnavailable, time.Second)
		w.wantRequests(1)
	})
}

func TestHangingRequestTimesOut(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) { p.latency = time.Hour })
		w.wantError(fault.ProviderUnavailable, time.Second)
		if w.elapsed() > 15*time.Second {
			w.Errorf("a caller without a deadline waited %v", w.elapsed())
		}
		w.provider.set(func(p *provider) { p.latency = 0 })
		w.pass(time.Second)
		w.want("token-2")
	})
}

type panicking struct{ *provider }

func (p panicking) RequestToken(ctx context.Context) (*token.Token, error) {
	if p.count() == 0 {
		p.set(func(p *provider) { p.requests++ })
		panic("secret-canary")
	}
	return p.provider.RequestToken(ctx)
}

func TestPanicFailsOneRefresh(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		source := panicking{w.provider}
		_, err := w.fleet[0].Token(w.Context(), source)
		if fault.From(err).Reason != fault.Internal || err.Error() != "internal error" {
			w.Errorf("the error is %v, want an error without details", err)
		}
		w.pass(time.Second) // the back-off of the Cache lasts less than a second
		if _, err := w.fleet[0].Token(w.Context(), source); err != nil {
			w.Errorf("the call after the panic fails: %v", err)
		}
	})
}

func TestCloseEndsRefreshes(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) { p.latency = 5 * time.Second })
		time.AfterFunc(time.Second, w.fleet[0].Close)
		w.wantError(fault.ServerStopping, 0)
		if w.elapsed() != time.Second {
			w.Errorf("a caller of a closed Cache waited %v", w.elapsed())
		}
	})
}

// otherSource is the Source of another credential, whose provider answers at once.
type otherSource struct{ *provider }

func (otherSource) TokenKey() string { return "4a" }

// While the token request of one credential hangs, calls and reports for another credential neither
// wait nor fail.
func TestReadersWhileAnothersRequestHangs(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) { p.latency = time.Hour })
		hung := make(chan error, 1)
		go func() {
			_, err := w.get()
			hung <- err
		}()
		synctest.Wait()
		w.wantRequests(1)
		began, c := w.elapsed(), w.fleet[0]
		other := otherSource{newProvider()}
		other.set(func(p *provider) { p.latency = 0 })
		for _, call := range []string{"cold", "warm"} {
			if got, err := c.Token(w.Context(), other); err != nil || got.Value.Reveal() != "token-1" {
				w.Errorf("the %s call for the other credential fails: %v", call, err)
			}
		}
		if got, replaced, err := c.Replace(w.Context(), other, "token-1"); err != nil || !replaced || got.Value.Reveal() != "token-2" {
			w.Errorf("the report for the other credential returned replaced=%v and the error %v", replaced, err)
		}
		if waited := w.elapsed() - began; waited != 0 {
			w.Errorf("they waited %v", waited)
		}
		select {
		case err := <-hung:
			w.Errorf("the request that should hang has ended with %v", err)
		default:
		}
		if err := <-hung; err == nil {
			w.Error("the request that hung brought a token in the end")
		}
	})
}
