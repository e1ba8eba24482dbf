package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/testing/logtest"
	"github.com/authmaterial/broker/internal/token"
)

// refusedLine is what the log says, at error level, when a changed secret is refused.
const refusedLine = "the provider rejects the changed secret: the previous token is served until it ends"

// world is a broker with the real cache, the provider that it asks, and its log, all in
// one synctest bubble: time passes when everything waits.
type world struct {
	*testing.T
	sim    *simulator.Simulator
	tokens *cache.Cache
	broker *broker.Broker
	log    *logtest.Log
	first  simulator.Client // the client that the broker begins with
}

// inWorld runs a test in a bubble, with a broker that has the credentials `mail`, which
// needs a token, and `board`, which does not. A test may change the broker's options.
func inWorld(t *testing.T, test func(w *world), change ...func(*broker.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim, err := simulator.New(simulator.InProcess())
		if err != nil {
			t.Fatal(err)
		}
		w := &world{T: t, sim: sim, log: new(logtest.Log), first: sim.SendPulse.Client()}
		w.tokens = cache.New(cache.Options{
			Clock:    clockwork.NewRealClock(), // the bubble's
			Logger:   w.logger(),
			Versions: func(key string, t *token.Token) []string { return w.broker.VersionsOf(key, t) },
			Changed:  func(key string) { w.broker.TokenChanged(key) },
		})
		w.broker = w.newBroker(w.tokens, change...)
		test(w)
		w.broker.Close()
		w.tokens.Close()
		_ = sim.Close()
	})
}

func (w *world) logger() *slog.Logger { return slog.New(slog.NewTextHandler(w.log, nil)) }

// newBroker returns a broker with the world's first configuration.
func (w *world) newBroker(tokens broker.Tokens, change ...func(*broker.Options)) *broker.Broker {
	w.Helper()
	options := broker.Options{
		Tokens:      tokens,
		TokenClient: strategies.NewTokenClient(strategies.TokenClientOptions{Transport: w.sim.RoundTripper()}),
		VersionKeys: [][]byte{make([]byte, broker.VersionKeySize)},
		Clock:       clockwork.NewRealClock(), // the bubble's
		Logger:      w.logger(),
	}
	for _, apply := range change {
		apply(&options)
	}
	made, err := broker.New(load(w.parse(mail(w.first), board("first")).Credentials, access.AllowAll()), options)
	if err != nil {
		w.Fatal(err)
	}
	return made
}

// mail is the credential `mail` of a configuration.
func mail(client simulator.Client) string {
	return fmt.Sprintf(`{id: mail, provider: sendpulse, auth_method: oauth2_client_credentials,
    values: {client_id: {value: %q}, client_secret: {value: %q}}}`, client.ID, client.Secret)
}

// board is the credential `board`, with this key.
func board(key string) string {
	return fmt.Sprintf(`{id: board, provider: pendo, auth_method: api_key, values: {api_key: {value: %q}}}`, key)
}

func (w *world) parse(credentials ...string) *config.Config {
	w.Helper()
	text := "credentials: []\n"
	if len(credentials) > 0 {
		text = "credentials:\n  - " + strings.Join(credentials, "\n  - ") + "\n"
	}
	loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{})
	if err != nil {
		w.Fatal(err)
	}
	return loaded
}

// use takes a configuration of these credentials into use, and lets what follows from
// that happen as far as no time passes.
func (w *world) use(credentials ...string) {
	w.Helper()
	if err := w.broker.Use(load(w.parse(credentials...).Credentials, access.AllowAll())); err != nil {
		w.Fatal(err)
	}
	synctest.Wait()
}

// rotated is the client `mail` gets after a change of the secret alone.
func (w *world) rotated() simulator.Client {
	return w.sim.SendPulse.AddClient(simulator.Client{ID: w.first.ID})
}

// refused is a client that the provider does not know.
func (w *world) refused() simulator.Client {
	return simulator.Client{ID: w.first.ID, Secret: "no-such-secret"}
}

// pass lets time pass, and what is due then happen.
func (*world) pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble, this takes no time
	synctest.Wait()
}

func (w *world) get(id string) *broker.Decoration {
	w.Helper()
	decoration, err := w.broker.Get(w.Context(), nobody, id)
	if err != nil {
		w.Fatalf("get %s: %v", id, err)
	}
	return decoration
}

// version returns that of the material of `mail`, for which nobody is to wait.
func (w *world) version() string {
	w.Helper()
	began := time.Now()
	found := w.get("mail").Version
	if waited := time.Since(began); waited != 0 {
		w.Errorf("the caller waited %v", waited)
	}
	return found
}

// wantReason asks for a credential, which is to fail.
func (w *world) wantReason(id string, want fault.Reason) {
	w.Helper()
	_, err := w.broker.Get(w.Context(), nobody, id)
	w.checkReason(err, want)
}

func (w *world) checkReason(err error, want fault.Reason) {
	w.Helper()
	if err == nil || fault.From(err).Reason != want {
		w.Errorf("the error is %v (%v), want the reason %v", err, fault.From(err).Reason, want)
	}
}

// wantRequests compares the number of token requests.
func (w *world) wantRequests(want int) {
	w.Helper()
	if got := w.sim.SendPulse.TotalTokenRequests(); got != want {
		w.Errorf("%d token requests, want %d", got, want)
	}
}

// wantLive wants the provider to accept the material, or not.
func (w *world) wantLive(decoration *broker.Decoration, want bool) {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, "https://api.sendpulse.com/user/info", nil)
	if err != nil {
		w.Fatal(err)
	}
	for _, header := range decoration.Material.Headers {
		request.Header.Set(header.Name, header.Value.Reveal())
	}
	response, err := w.sim.RoundTripper().RoundTrip(request)
	if err != nil {
		w.Fatal(err)
	}
	_ = response.Body.Close()
	if live := response.StatusCode == http.StatusOK; live != want {
		w.Errorf("the provider accepts the material: %v, want %v", live, want)
	}
}

// follower watches credentials.
type follower struct {
	w *world
	*broker.Watch
}

func (w *world) watch(ids ...string) follower {
	return follower{w, w.broker.Watch(nobody, nil, ids)}
}

// watchHeld returns the version of mail's token and a watch that was told of it. From now on the
// provider holds its answers until release.
func (w *world) watchHeld() (former string, s follower, release func()) {
	w.Helper()
	former = w.version()
	s = w.watch("mail")
	s.wantVersion("mail", former)
	return former, s, w.sim.SendPulse.HoldTokenAnswers()
}

// next returns the next state, for which nobody is to wait longer than that.
func (f follower) next(patience time.Duration) broker.Result {
	f.w.Helper()
	ctx, cancel := context.WithTimeout(f.w.Context(), patience+time.Nanosecond)
	defer cancel()
	result, err := f.Next(ctx)
	if err != nil {
		f.w.Fatalf("the watch tells nothing within %v: %v", patience, err)
	}
	return result
}

// wantVersion wants the next state to be that version of an ID.
func (f follower) wantVersion(id, version string) {
	f.w.Helper()
	if result := f.next(0); result.CredentialID != id || result.Err != nil || result.Decoration.Version != version {
		f.w.Errorf("the watch tells of %s (%v), want another version of %s", result.CredentialID, result.Err, id)
	}
}

// wantReason wants the next state to be an error of an ID.
func (f follower) wantReason(id string, want fault.Reason) {
	f.w.Helper()
	result := f.next(0)
	if result.CredentialID != id {
		f.w.Errorf("the watch tells of %s, want %s", result.CredentialID, id)
	}
	f.w.checkReason(result.Err, want)
}

// wantNothing wants the watch to have nothing to tell for that long.
func (f follower) wantNothing(d time.Duration) {
	f.w.Helper()
	ctx, cancel := context.WithTimeout(f.w.Context(), d)
	defer cancel()
	if result, err := f.Next(ctx); err == nil {
		f.w.Errorf("the watch tells of %s (%v), want nothing", result.CredentialID, result.Err)
	}
}

func TestFormerTokenIsServedUntilThereIsANewOne(t *testing.T) {
	for name, change := range map[string]func(*world) simulator.Client{
		"of the secret alone":     (*world).rotated,
		"of client ID and secret": func(w *world) simulator.Client { return w.sim.SendPulse.RotateClientSecret() },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				former := w.version()
				s := w.watch("mail")
				defer s.Close()
				s.wantVersion("mail", former)

				release := w.sim.SendPulse.HoldTokenAnswers()
				w.use(mail(change(w)), board("first"))
				for range 9 {
					if w.version() != former {
						t.Error("the former token is not served while there is no other")
					}
					if left := time.Until(w.get("mail").RefreshTime); left <= 0 || left > time.Second {
						t.Errorf("callers are told to ask again in %v, want a second at most", left)
					}
					s.wantNothing(time.Second)
				}
				w.wantRequests(2) // the handover waits for its answer, and sends no other
				w.wantLive(w.get("mail"), true)

				release()
				synctest.Wait()
				successor := w.get("mail")
				if successor.Version == former {
					t.Error("the former token is served although there is another")
				}
				w.wantLive(successor, true)
				s.wantVersion("mail", successor.Version)
				s.wantNothing(time.Minute)
				w.wantRequests(2)
			})
		})
	}
}

// TestTokenNobodyHadIsNotHandedOver changes a secret before its first use.
func TestTokenNobodyHadIsNotHandedOver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.use(mail(w.rotated()), board("first"))
		w.wantRequests(0)
		w.get("mail")
		w.wantRequests(1)
	})
}

func TestRefusedSecretKeepsTheFormerTokenToItsEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		began := time.Now()
		former := w.version()
		s := w.watch("mail")
		defer s.Close()
		s.wantVersion("mail", former)
		w.use(mail(w.refused()), board("first"))
		for time.Since(began) < simulator.DefaultTokenLifetime-time.Minute {
			if w.version() != former {
				t.Fatal("another token is served")
			}
			w.pass(time.Minute)
		}
		w.pass(time.Minute - time.Nanosecond)
		w.wantLive(w.get("mail"), true)
		if w.version() != former {
			t.Error("another token is served in the last moment of the former one")
		}
		if n := w.log.Count(refusedLine, "level=ERROR", "credential_id=mail"); n != 1 {
			t.Errorf("%d lines of the log tell of the refusal at error level, want 1", n)
		}
		s.wantNothing(0)

		w.pass(time.Nanosecond)
		w.wantReason("mail", fault.CredentialRejected)
		s.wantReasonWithin(time.Second, "mail", fault.CredentialRejected)
	})
}

// wantReasonWithin is wantReason for a state that may take a while.
func (f follower) wantReasonWithin(patience time.Duration, id string, want fault.Reason) {
	f.w.Helper()
	result := f.next(patience)
	if result.CredentialID != id {
		f.w.Errorf("the watch tells of %s, want %s", result.CredentialID, id)
	}
	f.w.checkReason(result.Err, want)
}

// TestRefusedSecretThatIsAcceptedLater has the provider learn of a new secret after the
// broker.
func TestRefusedSecretThatIsAcceptedLater(t *testing.T) {
	inWorld(t, func(w *world) {
		former := w.version()
		s := w.watch("mail")
		defer s.Close()
		s.wantVersion("mail", former)
		late := w.refused()
		w.use(mail(late), board("first"))
		w.pass(20 * time.Second)
		w.sim.SendPulse.AddClient(late)
		w.sim.SendPulse.SetTokenLifetime(5 * time.Minute)
		if w.version() != former {
			t.Error("another token is served before the refusal was forgotten")
		}
		w.pass(10*time.Second + time.Millisecond) // a first refusal is remembered for 30 seconds
		successor := w.version()
		if successor == former {
			t.Error("the accepted secret has produced no token")
		}
		s.wantVersion("mail", successor)
		w.wantRequests(3)

		// From then on there is no former token, though that would live longer.
		w.sim.SendPulse.FailTokenRequests(simulator.HTMLPage(http.StatusBadGateway))
		w.pass(6 * time.Minute)
		w.wantReason("mail", fault.ProviderUnavailable)
	})
}

func TestHangingProviderGetsTenSeconds(t *testing.T) {
	inWorld(t, func(w *world) {
		former := w.version()
		s := w.watch("mail")
		defer s.Close()
		s.wantVersion("mail", former)
		w.sim.SendPulse.FailTokenRequests(simulator.Hang())
		w.use(mail(w.rotated()), board("first"))
		w.pass(10*time.Second - time.Millisecond)
		if w.version() != former {
			t.Error("the former token is not served for 10 seconds")
		}
		w.pass(2 * time.Millisecond)
		w.wantReason("mail", fault.ProviderUnavailable)
		s.wantReasonWithin(12*time.Second, "mail", fault.ProviderUnavailable)
		if n := w.log.Count(refusedLine); n != 0 {
			t.Errorf("%d lines of the log tell of a refusal", n)
		}

		w.sim.SendPulse.RestoreTokenRequests()
		w.pass(time.Minute)
		if w.get("mail").Version == former {
			t.Error("the former token is served again")
		}
	})
}

// TestPassingTroubleDuringAHandover has a provider that fails at once, and then works.
func TestPassingTroubleDuringAHandover(t *testing.T) {
	inWorld(t, func(w *world) {
		former := w.version()
		w.sim.SendPulse.FailNextTokenRequests(2, simulator.HTMLPage(http.StatusBadGateway))
		w.use(mail(w.rotated()), board("first"))
		if w.version() != former {
			t.Error("the first failure takes the former token away")
		}
		w.pass(5 * time.Second) // backing off for 1 and 2 seconds, and a quarter more at most
		if w.version() == former {
			t.Error("the provider works, and the former token is served")
		}
		w.wantRequests(4)
	})
}

func TestSecondChangeDuringAHandover(t *testing.T) {
	inWorld(t, func(w *world) {
		former, s, release := w.watchHeld()
		defer s.Close()
		w.use(mail(w.rotated()), board("first"))
		w.pass(5 * time.Second)
		last := w.rotated()
		w.use(mail(last), board("first"))
		if w.version() != former {
			t.Error("the first token is not served during the second change")
		}
		s.wantNothing(2 * time.Second)
		release()
		synctest.Wait()
		successor := w.get("mail")
		if successor.Version == former {
			t.Error("the first token is served although there is another")
		}
		s.wantVersion("mail", successor.Version)
		s.wantNothing(time.Minute)
		w.wantRequests(3) // the second was under way when its secret went
		if w.version() != successor.Version {
			t.Error("the token of the secret in between is served")
		}
	})
}

// TestRefusedSecretIsMended changes a secret to a wrong one, and then to the right one.
func TestRefusedSecretIsMended(t *testing.T) {
	inWorld(t, func(w *world) {
		former := w.version()
		right := w.rotated()
		w.use(mail(w.refused()), board("first"))
		w.pass(5 * time.Minute)
		release := w.sim.SendPulse.HoldTokenAnswers()
		w.use(mail(right), board("first"))
		w.pass(5 * time.Second)
		if w.version() != former {
			t.Error("the former token is not served while the right secret has produced none")
		}
		release()
		synctest.Wait()
		if w.version() == former {
			t.Error("the former token is served although there is another")
		}
	})
}

// TestChangeThatIsTakenBack returns to the first secret, whose token still stands.
func TestChangeThatIsTakenBack(t *testing.T) {
	inWorld(t, func(w *world) {
		former := w.version()
		w.use(mail(w.refused()), board("first"))
		w.use(mail(w.first), board("first"))
		if w.version() != former {
			t.Error("the token of the first secret is not served again")
		}
		w.wantRequests(2) // the first, and the refused one
		w.pass(time.Minute)
		if w.version() != former {
			t.Error("the token of the first secret is not served on")
		}
	})
}

func TestReportOfTheFormerVersion(t *testing.T) {
	t.Run("there is a new one", func(t *testing.T) {
		inWorld(t, func(w *world) {
			former := w.version()
			w.use(mail(w.rotated()), board("first"))
			w.wantReport(former, broker.AlreadyReplaced, w.version())
			w.wantRequests(2)
		})
	})
	t.Run("the new one is under way", func(t *testing.T) {
		inWorld(t, func(w *world) {
			former := w.version()
			release := w.sim.SendPulse.HoldTokenAnswers()
			w.use(mail(w.rotated()), board("first"))
			time.AfterFunc(time.Second, release)
			decoration, outcome, err := w.broker.ReportRejection(w.Context(), nobody, "mail", former, http.StatusUnauthorized)
			if err != nil || outcome != broker.AlreadyReplaced || decoration.Version == former {
				t.Errorf("the outcome is %v (%v), want the successor", outcome, err)
			}
			if w.version() == former {
				t.Error("the reported version is served again")
			}
			w.wantRequests(2)
		})
	})
	t.Run("the new secret is refused", func(t *testing.T) {
		inWorld(t, func(w *world) {
			former := w.version()
			w.use(mail(w.refused()), board("first"))
			_, _, err := w.broker.ReportRejection(w.Context(), nobody, "mail", former, http.StatusUnauthorized)
			w.checkReason(err, fault.CredentialRejected)
			if w.version() != former {
				t.Error("a failed report took the former token away")
			}
		})
	})
	t.Run("the provider hangs", func(t *testing.T) {
		inWorld(t, func(w *world) {
			former := w.version()
			w.sim.SendPulse.FailTokenRequests(simulator.Hang())
			w.use(mail(w.rotated()), board("first"))
			ctx, cancel := context.WithTimeout(w.Context(), 3*time.Second)
			defer cancel()
			_, _, err := w.broker.ReportRejection(ctx, nobody, "mail", former, http.StatusUnauthorized)
			w.checkReason(err, fault.ProviderUnavailable)
			if w.version() != former {
				t.Error("a failed report took the former token away")
			}
		})
	})
	t.Run("of a status that is no rejection", func(t *testing.T) {
		inWorld(t, func(w *world) {
			former := w.version()
			release := w.sim.SendPulse.HoldTokenAnswers()
			w.use(mail(w.rotated()), board("first"))
			decoration, outcome, err := w.broker.ReportRejection(w.Context(), nobody, "mail", former, http.StatusForbidden)
			if err != nil || outcome != broker.NotReplaceable || decoration.Version != former {
				t.Errorf("the outcome is %v (%v), want NotReplaceable", outcome, err)
			}
			release()
		})
	})
}

func (w *world) wantReport(version string, want broker.Outcome, current string) {
	w.Helper()
	decoration, outcome, err := w.broker.ReportRejection(w.Context(), nobody, "mail", version, http.StatusUnauthorized)
	if err != nil || outcome != want || decoration.Version != current {
		w.Errorf("the outcome is %v (%v), want %v and the current version", outcome, err, want)
	}
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
			t.Error("a batch has what was removed")
		}

		w.use(mail(w.first), board("first"))
		// The provider was asked for the token already, and it is as good as it was.
		if w.version() != token || w.get("board").Version != key {
			t.Error("what comes back has another version")
		}
		for range 2 {
			if result := s.next(0); result.Err != nil {
				t.Errorf("the watch tells of %s: %v", result.CredentialID, result.Err)
			}
		}
		s.wantNothing(time.Second)
		w.wantRequests(1)
	})
}

// TestRemovedDuringAHandover takes a credential away whose token is under way.
func TestRemovedDuringAHandover(t *testing.T) {
	inWorld(t, func(w *world) {
		former, s, release := w.watchHeld()
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
		if w.get("mail").Version == former {
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
			t.Error("a version has changed, and its credential has not")
		}

		w.use(described, board("second"))
		changed := w.get("board")
		if changed.Version == key || changed.Material.Headers[0].Value.Reveal() != "second" {
			t.Error("the changed key is not served")
		}
		s.wantVersion("board", changed.Version)
		w.pass(time.Minute)
		if w.version() != token {
			t.Error("the change of one credential has changed another")
		}
		w.wantRequests(1)

		// Hosts are no part of what the token depends on.
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

// TestCloseDuringAHandover closes the broker while a new secret has no token yet.
func TestCloseDuringAHandover(t *testing.T) {
	for name, failure := range map[string]simulator.Failure{
		"hanging": simulator.Hang(),
		"refused": simulator.OAuthError(http.StatusUnauthorized, "invalid_client"),
		"failing": simulator.HTMLPage(http.StatusBadGateway),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				former := w.version()
				s := w.watch("mail")
				defer s.Close()
				s.wantVersion("mail", former)
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
