package broker_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

func TestPreviousTokenIsServedUntilThereIsANewOne(t *testing.T) {
	for name, change := range map[string]func(*world) simulator.Client{
		"of the secret alone":     (*world).rotated,
		"of client ID and secret": func(w *world) simulator.Client { return w.sim.SendPulse.RotateClientSecret() },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				previous := w.version()
				s := w.watch("mail")
				defer s.Close()
				s.wantVersion("mail", previous)

				release := w.sim.SendPulse.HoldTokenAnswers()
				w.use(mail(change(w)), board("first"))
				for range 9 {
					if w.version() != previous {
						t.Error("the previous token is not served while there is no new token")
					}
					if left := time.Until(w.get("mail").RefreshTime); left <= 0 || left > time.Second {
						t.Errorf("the refresh time is in %v, want one second at most", left)
					}
					s.wantNothing(time.Second)
				}
				w.wantRequests(2) // the broker waits for the delayed answer, and sends no other request
				w.wantLive(w.get("mail"), true)

				release()
				synctest.Wait()
				successor := w.get("mail")
				if successor.Version == previous {
					t.Error("the previous token is served although there is a new one")
				}
				w.wantLive(successor, true)
				s.wantVersion("mail", successor.Version)
				s.wantNothing(time.Minute)
				w.wantRequests(2)
			})
		})
	}
}

// A credential that was never used gets a new secret. The broker sends no token request.
func TestSecretChangedBeforeItsFirstUse(t *testing.T) {
	inWorld(t, func(w *world) {
		w.use(mail(w.rotated()), board("first"))
		w.wantRequests(0)
		w.get("mail")
		w.wantRequests(1)
	})
}

func TestRefusedSecretKeepsThePreviousTokenToItsEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		began := time.Now()
		previous := w.version()
		s := w.watch("mail")
		defer s.Close()
		s.wantVersion("mail", previous)
		w.use(mail(w.refused()), board("first"))
		for time.Since(began) < simulator.DefaultTokenLifetime-time.Minute {
			if w.version() != previous {
				t.Fatal("a token other than the previous one is served")
			}
			w.pass(time.Minute)
		}
		w.pass(time.Minute - time.Nanosecond)
		w.wantLive(w.get("mail"), true)
		if w.version() != previous {
			t.Error("a token other than the previous one is served at the end of the previous token's life")
		}
		if n := w.log.Count(refusedLine, "level=ERROR", "credential_id=mail"); n != 1 {
			t.Errorf("%d error lines report the rejection, want 1", n)
		}
		s.wantNothing(0)

		w.pass(time.Nanosecond)
		w.wantReason("mail", fault.CredentialRejected)
		s.wantReasonWithin(time.Second, "mail", fault.CredentialRejected)
	})
}

// The provider rejects the new secret once, and then accepts it.
func TestRefusedSecretThatIsAcceptedLater(t *testing.T) {
	inWorld(t, func(w *world) {
		previous := w.version()
		s := w.watch("mail")
		defer s.Close()
		s.wantVersion("mail", previous)
		late := w.refused()
		w.use(mail(late), board("first"))
		w.pass(20 * time.Second)
		w.sim.SendPulse.AddClient(late)
		w.sim.SendPulse.SetTokenLifetime(5 * time.Minute)
		if w.version() != previous {
			t.Error("a token other than the previous one is served before the next attempt was due")
		}
		w.pass(10*time.Second + time.Millisecond) // the broker makes the next request 30 seconds after the first rejection
		successor := w.version()
		if successor == previous {
			t.Error("the accepted secret has produced no token")
		}
		s.wantVersion("mail", successor)
		w.wantRequests(3)

		// The new token replaces the previous one permanently, although the previous token is still
		// valid.
		w.sim.SendPulse.FailTokenRequests(simulator.HTMLPage(http.StatusBadGateway))
		w.pass(6 * time.Minute)
		w.wantReason("mail", fault.ProviderUnavailable)
	})
}

func TestHangingProviderGetsTenSeconds(t *testing.T) {
	inWorld(t, func(w *world) {
		previous := w.version()
		s := w.watch("mail")
		defer s.Close()
		s.wantVersion("mail", previous)
		w.sim.SendPulse.FailTokenRequests(simulator.Hang())
		w.use(mail(w.rotated()), board("first"))
		w.pass(10*time.Second - time.Millisecond)
		if w.version() != previous {
			t.Error("after less than 10 seconds, the previous token is no longer served")
		}
		w.pass(2 * time.Millisecond)
		w.wantReason("mail", fault.ProviderUnavailable)
		s.wantReasonWithin(12*time.Second, "mail", fault.ProviderUnavailable)
		if n := w.log.Count(refusedLine); n != 0 {
			t.Errorf("%d log lines report a rejection", n)
		}

		w.sim.SendPulse.RestoreTokenRequests()
		w.pass(time.Minute)
		if w.get("mail").Version == previous {
			t.Error("the previous token is served again")
		}
	})
}

// The provider fails twice. The broker continues to request a token.
func TestPassingTroubleDuringTheGrace(t *testing.T) {
	inWorld(t, func(w *world) {
		previous := w.version()
		w.sim.SendPulse.FailNextTokenRequests(2, simulator.HTMLPage(http.StatusBadGateway))
		w.use(mail(w.rotated()), board("first"))
		if w.version() != previous {
			t.Error("the previous token is not served after the first failure")
		}
		w.pass(5 * time.Second) // the broker retries after 1 second and then after 2 seconds; each delay is up to a quarter longer
		if w.version() == previous {
			t.Error("the previous token is served although the provider works")
		}
		w.wantRequests(4)
	})
}

func TestSecondChangeDuringTheGrace(t *testing.T) {
	inWorld(t, func(w *world) {
		previous, s, release := w.watchHeld()
		defer s.Close()
		w.use(mail(w.rotated()), board("first"))
		w.pass(5 * time.Second)
		last := w.rotated()
		w.use(mail(last), board("first"))
		if w.version() != previous {
			t.Error("the first token is not served during the second change")
		}
		s.wantNothing(2 * time.Second)
		release()
		synctest.Wait()
		successor := w.get("mail")
		if successor.Version == previous {
			t.Error("the first token is served although there is a new one")
		}
		s.wantVersion("mail", successor.Version)
		s.wantNothing(time.Minute)
		w.wantRequests(3) // when the second secret was replaced, the request with the second secret was already running
		if w.version() != successor.Version {
			t.Error("the token of the second secret is served")
		}
	})
}

// A secret is changed to a wrong value, and then to the right one.
func TestRefusedSecretIsCorrected(t *testing.T) {
	inWorld(t, func(w *world) {
		previous := w.version()
		right := w.rotated()
		w.use(mail(w.refused()), board("first"))
		w.pass(5 * time.Minute)
		release := w.sim.SendPulse.HoldTokenAnswers()
		w.use(mail(right), board("first"))
		w.pass(5 * time.Second)
		if w.version() != previous {
			t.Error("the previous token is no longer served, although the provider has issued no token for the right secret")
		}
		release()
		synctest.Wait()
		if w.version() == previous {
			t.Error("the previous token is served although there is a new one")
		}
	})
}

// A secret is changed and then restored while the token of the original secret is still valid.
func TestChangeThatIsTakenBack(t *testing.T) {
	inWorld(t, func(w *world) {
		previous := w.version()
		w.use(mail(w.refused()), board("first"))
		w.use(mail(w.first), board("first"))
		if w.version() != previous {
			t.Error("the token of the first secret is not served again")
		}
		w.wantRequests(2) // one request with the first secret, and one request with the rejected secret
		w.pass(time.Minute)
		if w.version() != previous {
			t.Error("the token of the first secret is no longer served")
		}
	})
}

func TestReportOfThePreviousVersion(t *testing.T) {
	t.Run("there is a new token", func(t *testing.T) {
		inWorld(t, func(w *world) {
			previous := w.version()
			w.use(mail(w.rotated()), board("first"))
			w.wantReport(previous, broker.AlreadyReplaced, w.version())
			w.wantRequests(2)
		})
	})
	t.Run("the request for the new token is running", func(t *testing.T) {
		inWorld(t, func(w *world) {
			previous := w.version()
			release := w.sim.SendPulse.HoldTokenAnswers()
			w.use(mail(w.rotated()), board("first"))
			time.AfterFunc(time.Second, release)
			decoration, outcome, err := w.broker.ReportRejection(w.Context(), nobody, "mail", previous, http.StatusUnauthorized)
			if err != nil || outcome != broker.AlreadyReplaced || decoration.Version == previous {
				t.Errorf("the outcome is %v (error: %v), want AlreadyReplaced and another version", outcome, err)
			}
			if w.version() == previous {
				t.Error("the reported version is served again")
			}
			w.wantRequests(2)
		})
	})
	t.Run("the new secret is rejected", func(t *testing.T) {
		inWorld(t, func(w *world) {
			previous := w.version()
			w.use(mail(w.refused()), board("first"))
			_, _, err := w.broker.ReportRejection(w.Context(), nobody, "mail", previous, http.StatusUnauthorized)
			w.checkReason(err, fault.CredentialRejected)
			if w.version() != previous {
				t.Error("the previous token is not served after a failed report")
			}
		})
	})
	t.Run("the provider hangs", func(t *testing.T) {
		inWorld(t, func(w *world) {
			previous := w.version()
			w.sim.SendPulse.FailTokenRequests(simulator.Hang())
			w.use(mail(w.rotated()), board("first"))
			ctx, cancel := context.WithTimeout(w.Context(), 3*time.Second)
			defer cancel()
			_, _, err := w.broker.ReportRejection(ctx, nobody, "mail", previous, http.StatusUnauthorized)
			w.checkReason(err, fault.ProviderUnavailable)
			if w.version() != previous {
				t.Error("the previous token is not served after a failed report")
			}
		})
	})
	t.Run("the status does not mean rejection", func(t *testing.T) {
		inWorld(t, func(w *world) {
			previous := w.version()
			release := w.sim.SendPulse.HoldTokenAnswers()
			w.use(mail(w.rotated()), board("first"))
			decoration, outcome, err := w.broker.ReportRejection(w.Context(), nobody, "mail", previous, http.StatusForbidden)
			if err != nil || outcome != broker.NotReplaceable || decoration.Version != previous {
				t.Errorf("the outcome is %v (error: %v), want NotReplaceable", outcome, err)
			}
			release()
		})
	})
}

func TestRemovedCredentialComesBack(t *testing.T) {
	inWorld(t, func(w *world) {
		token, key := w.version(), w.get("board").Version
		s := w.watch("mail", "board")
		defer s.Close()
		s.wantVersion("mail", token)
		s.wantVersion("board", key)

		w.use(board("first"))
		w.wantReason("mail", fault.CredentialNotFound)
		s.wantReason("mail", fault.CredentialNotFound)
		w.use()
		w.wantReason("board", fault.CredentialNotFound)
		s.wantReason("board", fault.CredentialNotFound)
		s.wantNothing(time.Minute)
		if results := w.broker.GetBatch(w.Context(), nobody, []string{"mail", "board"}); results[0].Err == nil || results[1].Err == nil {
			t.Error("a batch returns a removed credential")
		}

		w.use(mail(w.first), board("first"))
		if w.version() != token || w.get("board").Version != key {
			t.Error("a credential that was added again has another version")
		}
		for range 2 {
			if result := s.next(0); result.Err != nil {
				t.Errorf("the watch sends the credential %s with the error %v", result.CredentialID, result.Err)
			}
		}
		s.wantNothing(time.Second)
		w.wantRequests(1)
	})
}

// A credential is removed from the configuration while the broker requests the first token for its
// new secret.
func TestRemovedDuringTheGrace(t *testing.T) {
	inWorld(t, func(w *world) {
		previous, s, release := w.watchHeld()
		defer s.Close()
		changed := w.rotated()
		w.use(mail(changed), board("first"))
		w.use(board("first"))
		w.wantReason("mail", fault.CredentialNotFound)
		s.wantReason("mail", fault.CredentialNotFound)
		release()
		s.wantNothing(time.Minute)
		w.wantReason("mail", fault.CredentialNotFound)
		w.use(mail(changed), board("first"))
		if w.get("mail").Version == previous {
			t.Error("the token of the first secret is served again")
		}
	})
}

func TestOnlyWhatChangedIsComputedAnew(t *testing.T) {
	inWorld(t, func(w *world) {
		token, key := w.version(), w.get("board").Version
		s := w.watch("mail", "board")
		defer s.Close()
		s.wantVersion("mail", token)
		s.wantVersion("board", key)

		for range 3 {
			w.use(mail(w.first), board("first"))
		}
		s.wantNothing(time.Second)
		described := strings.Replace(mail(w.first), "id: mail", "id: mail, display_name: Mail, description: text, labels: {a: b}", 1)
		w.use(described, board("first"))
		s.wantNothing(time.Second)
		if w.version() != token || w.get("board").Version != key {
			t.Error("a version has changed although its credential has not")
		}

		w.use(described, board("second"))
		changed := w.get("board")
		if changed.Version == key || changed.Material.Headers[0].Value.Reveal() != "second" {
			t.Error("the changed key is not served")
		}
		s.wantVersion("board", changed.Version)
		w.pass(time.Minute)
		if w.version() != token {
			t.Error("the change of one credential has changed the version of another credential")
		}
		w.wantRequests(1)

		w.use(strings.Replace(described, "id: mail", "id: mail, allowed_hosts: [mail.example.test]", 1), board("second"))
		if hosts := strings.Join(w.get("mail").AllowedHosts, " "); !strings.HasSuffix(hosts, " mail.example.test") {
			t.Errorf("the allowed hosts are %s", hosts)
		}
		if w.version() != token {
			t.Error("a change of the hosts has changed the version")
		}
		w.wantRequests(1)
	})
}

// The broker closes while the provider has not yet issued a token for a new secret.
func TestCloseDuringTheGrace(t *testing.T) {
	for name, failure := range map[string]simulator.Failure{
		"hanging": simulator.Hang(),
		"refused": simulator.OAuthError(http.StatusUnauthorized, "invalid_client"),
		"failing": simulator.HTMLPage(http.StatusBadGateway),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				previous := w.version()
				s := w.watch("mail")
				defer s.Close()
				s.wantVersion("mail", previous)
				w.sim.SendPulse.FailTokenRequests(failure)
				w.use(mail(w.rotated()), board("first"))
				began := time.Now()
				w.broker.Close()
				if waited := time.Since(began); waited != 0 {
					t.Errorf("Close waited %v for the provider", waited)
				}
				_, err := s.Next(w.Context())
				w.checkReason(err, fault.ServerStopping)
			})
		})
	}
}
