package broker_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/fault"
)

// TestWatchOfATokenInItsMargin has a provider that fails from before the renewal of a token until
// after its end.
func TestWatchOfATokenInItsMargin(t *testing.T) {
	inWorld(t, func(w *world) {
		token := w.version()
		early := w.watch("mail")
		defer early.Close()
		early.wantVersion("mail", token)
		w.sim.SendPulse.FailTokenRequests(simulator.HTMLPage(http.StatusBadGateway))
		w.pass(simulator.DefaultTokenLifetime - 30*time.Second)

		// A watch that begins now gets the token too.
		late := w.watch("mail")
		defer late.Close()
		if result := late.next(2 * time.Second); result.Err != nil || result.Decoration.Version != token {
			t.Errorf("the watch that begins sends %v, want the token", result.Err)
		}
		late.wantNothing(10 * time.Second)
		early.wantNothing(10 * time.Second)
		w.checkReason(early.next(time.Minute).Err, fault.ProviderUnavailable)
		w.checkReason(late.next(time.Second).Err, fault.ProviderUnavailable)
	})
}

// TestFailureThatIsOverIsNotSent has a reader that is slow during a failure: it gets the newer state.
func TestFailureThatIsOverIsNotSent(t *testing.T) {
	begin := func(w *world) follower {
		w.sim.SendPulse.FailNextTokenRequests(1, simulator.HTMLPage(http.StatusBadGateway))
		s := w.watch("mail", "board")
		// Meanwhile the watch waits for a token of `mail`.
		if result, err := s.Next(w.Context()); err != nil || result.CredentialID != "board" {
			w.Fatalf("the watch sends %s (%v), want board", result.CredentialID, err)
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

// TestWatchDoesNotWaitForAReplacedSecret changes a secret while the provider does not answer.
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

// TestWatchEndsAlthoughStatesAreLeft calls Next with a context that has ended.
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
