package broker_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// The provider fails from before the renewal of a token until after the token has expired.
func TestWatchOfATokenInItsMargin(t *testing.T) {
	inWorld(t, func(w *world) {
		token := w.version()
		early := w.watch("mail")
		defer early.Close()
		early.wantVersion("mail", token)
		w.sim.SendPulse.FailTokenRequests(simulator.HTMLPage(http.StatusBadGateway))
		w.pass(simulator.DefaultTokenLifetime - 30*time.Second)

		late := w.watch("mail")
		defer late.Close()
		if result := late.next(2 * time.Second); result.Err != nil || result.Decoration.Version != token {
			t.Errorf("the new watch sends %v, want the token", result.Err)
		}
		late.wantNothing(10 * time.Second)
		early.wantNothing(10 * time.Second)
		w.checkReason(early.next(time.Minute).Err, fault.ProviderUnavailable)
		w.checkReason(late.next(time.Second).Err, fault.ProviderUnavailable)
	})
}

// A reader that is slow while a failure begins and ends must receive the newest state instead of
// the failure.
func TestFailureThatIsOverIsNotSent(t *testing.T) {
	begin := func(w *world) follower {
		w.sim.SendPulse.FailNextTokenRequests(1, simulator.HTMLPage(http.StatusBadGateway))
		s := w.watch("mail", "board")
		// The result for `board` comes first, because the watch still waits for a token of `mail`.
		if result, err := s.Next(w.Context()); err != nil || result.CredentialID != "board" {
			w.Fatalf("the watch sends the credential %s (error: %v), want `board`", result.CredentialID, err)
		}
		synctest.Wait()
		return s
	}
	t.Run("the credential is removed", func(t *testing.T) {
		inWorld(t, func(w *world) {
			s := begin(w)
			defer s.Close()
			w.use(board("first"))
			w.checkReason(s.next(0).Err, fault.CredentialNotFound)
		})
	})
	t.Run("there is a token", func(t *testing.T) {
		inWorld(t, func(w *world) {
			s := begin(w)
			defer s.Close()
			w.pass(2 * time.Second)
			s.wantVersion("mail", w.get("mail").Version)
		})
	})
	t.Run("a while has passed", func(t *testing.T) {
		inWorld(t, func(w *world) {
			s := begin(w)
			defer s.Close()
			w.pass(2 * time.Second)
			if result := s.next(0); result.Err != nil {
				t.Errorf("the watch sends %v, want a token", result.Err)
			}
		})
	})
}

// A secret changes while a token request with the old secret is still unanswered.
func TestWatchDoesNotWaitForAReplacedSecret(t *testing.T) {
	inWorld(t, func(w *world) {
		w.sim.SendPulse.FailNextTokenRequests(1, simulator.Hang())
		s := w.watch("mail")
		defer s.Close()
		time.AfterFunc(time.Second, func() {
			if err := w.broker.Use(load(w.parse(mail(w.rotated()), board("first")).Credentials, access.AllowAll())); err != nil {
				t.Error(err)
			}
		})
		began := time.Now()
		result, err := s.Next(w.Context())
		if waited := time.Since(began); err != nil || result.Err != nil || waited != time.Second {
			t.Errorf("after %v the watch sends %v, want a token as soon as the secret has changed", waited, result.Err)
		}
		s.wantNothing(time.Minute)
	})
}

// Next is called with a cancelled context while the watch still has states to send.
func TestWatchEndsAlthoughStatesAreLeft(t *testing.T) {
	inWorld(t, func(w *world) {
		s := w.watch("board")
		defer s.Close()
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v, want context.Canceled", err)
		}
	})
}

// losingTokens is a token cache that has no token when `lost` is set, and whose token requests then
// hang.
type losingTokens struct {
	broker.Tokens
	lost  atomic.Bool
	asked atomic.Int32
}

func (l *losingTokens) WarmAt(key string, now time.Time) (*token.Token, bool) {
	if l.lost.Load() {
		return nil, false
	}
	return l.Tokens.WarmAt(key, now)
}

func (l *losingTokens) Token(ctx context.Context, source cache.Source) (*token.Token, error) {
	if l.lost.Load() {
		l.asked.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return l.Tokens.Token(ctx, source)
}

// Within a second after a watch received a token, the cache loses that token. The watch must ask
// the cache for a new token.
func TestWatchAsksAgainForATokenThatWasWithdrawn(t *testing.T) {
	losing := &losingTokens{}
	inWorld(t, func(w *world) {
		ctx, stop := context.WithCancel(w.Context())
		watch := w.broker.Watch(nobody, nil, []string{"mail"})
		defer watch.Close()
		if state, err := watch.Next(ctx); err != nil || state.Err != nil {
			w.Fatal(err, state.Err)
		}
		losing.lost.Store(true)
		w.broker.ProofsChanged() // ProofsChanged makes the watch compute its states again
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = watch.Next(ctx)
		}()
		synctest.Wait()
		if got := losing.asked.Load(); got != 1 {
			w.Errorf("the watch asked for the next token %d times, want once", got)
		}
		stop()
		<-ended
	}, func(options *broker.Options) {
		losing.Tokens = options.Tokens
		options.Tokens = losing
	})
}
