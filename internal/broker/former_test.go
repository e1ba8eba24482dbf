package broker_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// withHosts adds allowed hosts to a credential of a configuration.
func withHosts(credential string, hosts ...string) string {
	return strings.Replace(credential, "provider:", "allowed_hosts: ["+strings.Join(hosts, ", ")+"], provider:", 1)
}

// TestChangeBesideTheSecret changes something else of a credential whose changed secret
// has produced no token.
func TestChangeBesideTheSecret(t *testing.T) {
	t.Run("the secret is refused", func(t *testing.T) {
		inWorld(t, func(w *world) {
			former := w.version()
			refused := mail(w.refused())
			w.use(refused, board("first"))
			w.pass(20 * time.Minute)
			w.use(withHosts(refused, "mail.example.test"), board("first"))
			w.pass(20 * time.Minute)
			if w.version() != former {
				t.Error("another token is served")
			}
			if n := w.broker.RefusedSecrets(); n != 1 {
				t.Errorf("%d secrets are refused, want 1", n)
			}
			if n := w.log.count(refusedLine); n != 1 {
				t.Errorf("%d lines of the log tell of the refusal, want 1", n)
			}
		})
	})
	t.Run("the provider hangs", func(t *testing.T) {
		inWorld(t, func(w *world) {
			former := w.version()
			w.sim.SendPulse.FailTokenRequests(simulator.Hang())
			changed := mail(w.rotated())
			w.use(changed, board("first"))
			w.pass(9 * time.Second)
			w.use(withHosts(changed, "mail.example.test"), board("first"))
			if w.version() != former {
				t.Error("the former token is not served for 10 seconds")
			}
			w.pass(time.Second)
			w.wantReason("mail", fault.ProviderUnavailable)
		})
	})
	t.Run("there is a token by then", func(t *testing.T) {
		inWorld(t, func(w *world) {
			former := w.version()
			changed := mail(w.rotated())
			w.use(changed, board("first"))
			successor := w.version()
			w.use(withHosts(changed, "mail.example.test"), board("first"))
			if version := w.version(); version == former || version != successor {
				t.Error("the token of the changed secret is not served")
			}
			w.wantRequests(2)
		})
	})
}

// TestFormerTokenGoesToAllowedHostsAlone takes a host away together with the secret.
func TestFormerTokenGoesToAllowedHostsAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.use(withHosts(mail(w.first), "kept.example.test", "gone.example.test"), board("first"))
		former := w.version()
		w.use(withHosts(mail(w.refused()), "kept.example.test", "new.example.test"), board("first"))
		served := w.get("mail")
		if want := []string{"api.sendpulse.com", "kept.example.test"}; served.Version != former || !slices.Equal(served.AllowedHosts, want) {
			t.Errorf("the former token may go to %v, want %v", served.AllowedHosts, want)
		}
	})
}

// TestRefreshTimeOfTheFormerToken asks for it to its end.
func TestRefreshTimeOfTheFormerToken(t *testing.T) {
	inWorld(t, func(w *world) {
		w.version()
		w.use(mail(w.refused()), board("first"))
		for range simulator.DefaultTokenLifetime / time.Minute {
			if left := time.Until(w.get("mail").RefreshTime); left != time.Second {
				t.Fatalf("callers are told to ask again in %v, want a second", left)
			}
			w.pass(time.Minute - time.Nanosecond)
		}
	})
}

// TestFormerTokenIsOverWhenAReportFindsAnother has a report bring the first token of the
// changed secret, and that token come into its margin soon.
func TestFormerTokenIsOverWhenAReportFindsAnother(t *testing.T) {
	inWorld(t, func(w *world) {
		former := w.version()
		late := w.refused()
		w.use(mail(late), board("first"))
		w.sim.SendPulse.AddClient(late)
		w.sim.SendPulse.SetTokenLifetime(20 * time.Second)
		if err := w.tokens.ForgetFailures(w.Context()); err != nil {
			t.Fatal(err)
		}
		decoration, outcome, err := w.broker.ReportRejection(w.Context(), nobody, "mail", former, http.StatusUnauthorized)
		if err != nil || outcome != broker.AlreadyReplaced {
			t.Fatalf("the outcome is %v (%v), want AlreadyReplaced", outcome, err)
		}
		if n := w.broker.RefusedSecrets(); n != 0 {
			t.Errorf("%d secrets are refused, want none", n)
		}
		w.sim.SendPulse.FailTokenRequests(simulator.HTMLPage(http.StatusBadGateway))
		w.pass(19 * time.Second)
		if version := w.get("mail").Version; version == former || version != decoration.Version {
			t.Error("the reported token is served again")
		}
	})
}
