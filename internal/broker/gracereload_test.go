package broker_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

func withHosts(credential string, hosts ...string) string {
	return strings.Replace(credential, "provider:", "allowed_hosts: ["+strings.Join(hosts, ", ")+"], provider:", 1)
}

// Before the provider has issued a token for a changed secret, another setting of the credential
// changes.
func TestChangeBesideTheSecret(t *testing.T) {
	t.Run("the secret is rejected", func(t *testing.T) {
		inWorld(t, func(w *world) {
			previous := w.version()
			refused := mail(w.refused())
			w.use(refused, board("first"))
			w.pass(20 * time.Minute)
			w.use(withHosts(refused, "mail.example.test"), board("first"))
			w.pass(20 * time.Minute)
			if w.version() != previous {
				t.Error("a token other than the previous one is served")
			}
			if n := w.broker.RefusedSecrets(); n != 1 {
				t.Errorf("%d secrets are rejected, want 1", n)
			}
			if n := w.log.Count(refusedLine); n != 1 {
				t.Errorf("%d log lines report the rejection, want 1", n)
			}
		})
	})
	t.Run("the provider hangs", func(t *testing.T) {
		inWorld(t, func(w *world) {
			previous := w.version()
			w.sim.SendPulse.FailTokenRequests(simulator.Hang())
			changed := mail(w.rotated())
			w.use(changed, board("first"))
			w.pass(9 * time.Second)
			w.use(withHosts(changed, "mail.example.test"), board("first"))
			if w.version() != previous {
				t.Error("after less than 10 seconds, the previous token is no longer served")
			}
			w.pass(time.Second)
			w.wantReason("mail", fault.ProviderUnavailable)
		})
	})
	t.Run("there is a new token by then", func(t *testing.T) {
		inWorld(t, func(w *world) {
			previous := w.version()
			changed := mail(w.rotated())
			w.use(changed, board("first"))
			successor := w.version()
			w.use(withHosts(changed, "mail.example.test"), board("first"))
			if version := w.version(); version == previous || version != successor {
				t.Error("the token of the changed secret is not served")
			}
			w.wantRequests(2)
		})
	})
}

// The allowed hosts of a credential and its secret change in one reload.
func TestPreviousTokenGoesOnlyToAllowedHosts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.use(withHosts(mail(w.first), "kept.example.test", "gone.example.test"), board("first"))
		previous := w.version()
		w.use(withHosts(mail(w.refused()), "kept.example.test", "new.example.test"), board("first"))
		served := w.get("mail")
		if want := []string{"api.sendpulse.com", "kept.example.test"}; served.Version != previous || !slices.Equal(served.AllowedHosts, want) {
			t.Errorf("the previous token may be sent to %v, want %v", served.AllowedHosts, want)
		}
	})
}

// While callers get the token of the previous secret, the RefreshTime of each decoration is one second
// after the call.
func TestRefreshTimeOfThePreviousToken(t *testing.T) {
	inWorld(t, func(w *world) {
		w.version()
		w.use(mail(w.refused()), board("first"))
		for range simulator.DefaultTokenLifetime / time.Minute {
			if left := time.Until(w.get("mail").RefreshTime); left != time.Second {
				t.Fatalf("the refresh time is in %v, want one second", left)
			}
			w.pass(time.Minute - time.Nanosecond)
		}
	})
}

// A report makes the broker request the first token for a changed secret. After this first token,
// the previous token must not be served again, even when the new token is about to expire and the
// provider fails.
func TestGraceEndsWhenAReportBringsAToken(t *testing.T) {
	inWorld(t, func(w *world) {
		previous := w.version()
		late := w.refused()
		w.use(mail(late), board("first"))
		w.sim.SendPulse.AddClient(late)
		w.sim.SendPulse.SetTokenLifetime(20 * time.Second)
		if err := w.tokens.ForgetFailures(w.Context()); err != nil {
			t.Fatal(err)
		}
		decoration, outcome, err := w.broker.ReportRejection(w.Context(), nobody, "mail", previous, http.StatusUnauthorized)
		if err != nil || outcome != broker.AlreadyReplaced {
			t.Fatalf("the outcome is %v (error: %v), want AlreadyReplaced", outcome, err)
		}
		if n := w.broker.RefusedSecrets(); n != 0 {
			t.Errorf("%d secrets are rejected, want none", n)
		}
		w.sim.SendPulse.FailTokenRequests(simulator.HTMLPage(http.StatusBadGateway))
		w.pass(19 * time.Second)
		if version := w.get("mail").Version; version == previous || version != decoration.Version {
			t.Error("the reported token is served again")
		}
	})
}

// The secret changes while a report waits for a token that replaces the reported one.
func TestReportDuringAReload(t *testing.T) {
	inWorld(t, func(w *world) {
		previous, s, release := w.watchHeld()
		defer s.Close()
		answered := make(chan string, 1)
		go func() {
			decoration, outcome, err := w.broker.ReportRejection(w.Context(), nobody, "mail", previous, http.StatusUnauthorized)
			if err != nil || outcome != broker.Replaced {
				t.Errorf("the outcome is %v (error: %v), want Replaced", outcome, err)
				decoration = new(broker.Decoration)
			}
			answered <- decoration.Version
		}()
		synctest.Wait()
		w.use(withHosts(mail(w.refused()), "new.example.test"), board("first"))
		release()
		successor := <-answered
		for s.next(0).Decoration.Version != successor { // the loop skips the state that has the changed hosts
		}
		for range 2 {
			if served := w.version(); served != successor {
				t.Errorf("the successor of the reported token is not served; the reported token is served: %v", served == previous)
			}
			w.pass(20 * time.Minute)
		}
		if n := w.log.Count(refusedLine); n != 1 {
			t.Errorf("%d log lines report the rejection, want 1", n)
		}
	})
}

// `failing` is a token cache that runs a function after the first failure of a call.
type failing struct {
	*cache.Cache
	then *sync.Once
	do   func()
}

func (f failing) Token(ctx context.Context, source cache.Source) (*token.Token, error) {
	t, err := f.Cache.Token(ctx, source)
	if err != nil {
		f.then.Do(f.do)
	}
	return t, err
}

// RetryRefused is called at the moment when the provider rejects a secret.
func TestRetryRefusedBeforeTheWait(t *testing.T) {
	inWorld(t, func(w *world) {
		w.broker.Close()
		late := w.refused()
		w.broker = w.newBroker(failing{w.tokens, new(sync.Once), func() {
			w.sim.SendPulse.AddClient(late)
			if err := w.tokens.ForgetFailures(w.Context()); err != nil {
				t.Error(err)
			}
			w.broker.RetryRefused()
		}})
		previous := w.version()
		w.use(mail(late), board("first"))
		if w.version() == previous {
			t.Error("the accepted secret has produced no token")
		}
		w.wantRequests(3)
	})
}

// unreplaced is a token cache in which a reported version never equals the version of the current
// token, as in a real cache after a reload that removed the credential.
type unreplaced struct{ *cache.Cache }

func (u unreplaced) Replace(_ context.Context, source cache.Source, _ string) (*token.Token, bool, error) {
	t, _ := u.Current(source)
	return t, false, nil
}

// A report fails if a reload removes the credential during the report.
func TestReportIsNotAnsweredWithTheReportedVersion(t *testing.T) {
	inWorld(t, func(w *world) {
		w.broker.Close()
		w.broker = w.newBroker(unreplaced{w.tokens})
		_, _, err := w.broker.ReportRejection(w.Context(), nobody, "mail", w.version(), http.StatusUnauthorized)
		w.checkReason(err, fault.ProviderUnavailable)
	})
}
