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

const refusedLine = "the provider rejects the changed secret: the previous token is served until it ends"

// world is a broker with the real cache, a simulated provider and a log, all in one synctest
// bubble.
type world struct {
	*testing.T
	sim    *simulator.Simulator
	tokens *cache.Cache
	broker *broker.Broker
	log    *logtest.Log
	first  simulator.Client // the OAuth client in the broker's first configuration
}

// inWorld runs a test in a synctest bubble. The broker has the credential `mail`, which needs a
// token, and the static credential `board`.
func inWorld(t *testing.T, test func(w *world), change ...func(*broker.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim, err := simulator.New(simulator.InProcess())
		if err != nil {
			t.Fatal(err)
		}
		w := &world{T: t, sim: sim, log: new(logtest.Log), first: sim.SendPulse.Client()}
		w.tokens = cache.New(cache.Options{
			Clock:    clockwork.NewRealClock(), // inside the bubble, this clock shows simulated time
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

func (w *world) newBroker(tokens broker.Tokens, change ...func(*broker.Options)) *broker.Broker {
	w.Helper()
	options := broker.Options{
		Tokens: tokens,
		TokenClient: strategies.NewTokenClient(strategies.TokenClientOptions{
			Transport: w.sim.RoundTripper(),
			Observe:   func(event strategies.TokenRequestEvent) { w.broker.TokenRequested(event) },
		}),
		VersionKeys: [][]byte{make([]byte, broker.VersionKeySize)},
		Clock:       clockwork.NewRealClock(),
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

func mail(client simulator.Client) string {
	return fmt.Sprintf(`{id: mail, provider: sendpulse, auth_method: oauth2_client_credentials,
    values: {client_id: {value: %q}, client_secret: {value: %q}}}`, client.ID, client.Secret)
}

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

// use reloads the configuration with these credentials, which every caller may use, and returns
// when all goroutines are idle.
func (w *world) use(credentials ...string) {
	w.Helper()
	if err := w.broker.Use(load(w.parse(credentials...).Credentials, access.AllowAll())); err != nil {
		w.Fatal(err)
	}
	synctest.Wait()
}

// `rotated` returns the OAuth client of `mail` with a second secret. The provider accepts both
// secrets.
func (w *world) rotated() simulator.Client {
	return w.sim.SendPulse.AddClient(simulator.Client{ID: w.first.ID})
}

// `refused` returns the OAuth client of `mail` with a secret that the provider rejects.
func (w *world) refused() simulator.Client {
	return simulator.Client{ID: w.first.ID, Secret: "no-such-secret"}
}

// pass waits for the given duration, and then until all goroutines are idle.
func (*world) pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble of testing/synctest, sleeping takes no real time
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

// version returns the version of the decoration of `mail`, which must be available without waiting.
func (w *world) version() string {
	w.Helper()
	began := time.Now()
	found := w.get("mail").Version
	if waited := time.Since(began); waited != 0 {
		w.Errorf("the caller waited %v", waited)
	}
	return found
}

func (w *world) wantReason(id string, want fault.Reason) {
	w.Helper()
	_, err := w.broker.Get(w.Context(), nobody, id)
	w.checkReason(err, want)
}

func (w *world) checkReason(err error, want fault.Reason) {
	w.Helper()
	if err == nil || fault.From(err).Reason != want {
		w.Errorf("the error is %v (reason: %v), want the reason %v", err, fault.From(err).Reason, want)
	}
}

func (w *world) wantRequests(want int) {
	w.Helper()
	if got := w.sim.SendPulse.TotalTokenRequests(); got != want {
		w.Errorf("%d token requests, want %d", got, want)
	}
}

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

type follower struct {
	w *world
	*broker.Watch
}

func (w *world) watch(ids ...string) follower {
	return follower{w, w.broker.Watch(nobody, nil, ids)}
}

// watchHeld opens a watch, waits until it has sent a token of `mail`, and returns the token's
// version. After watchHeld has returned, the provider delays its answers until the function
// `release` is called.
func (w *world) watchHeld() (previous string, s follower, release func()) {
	w.Helper()
	previous = w.version()
	s = w.watch("mail")
	s.wantVersion("mail", previous)
	return previous, s, w.sim.SendPulse.HoldTokenAnswers()
}

// `next` returns the next state of the watch, which must arrive within the given time.
func (f follower) next(patience time.Duration) broker.Result {
	f.w.Helper()
	ctx, cancel := context.WithTimeout(f.w.Context(), patience+time.Nanosecond)
	defer cancel()
	result, err := f.Next(ctx)
	if err != nil {
		f.w.Fatalf("the watch sends nothing within %v: %v", patience, err)
	}
	return result
}

func (f follower) wantVersion(id, version string) {
	f.w.Helper()
	if result := f.next(0); result.CredentialID != id || result.Err != nil || result.Decoration.Version != version {
		f.w.Errorf("the watch sends %s (error: %v), want another version of %s", result.CredentialID, result.Err, id)
	}
}

func (f follower) wantReason(id string, want fault.Reason) {
	f.w.Helper()
	result := f.next(0)
	if result.CredentialID != id {
		f.w.Errorf("the watch sends %s, want %s", result.CredentialID, id)
	}
	f.w.checkReason(result.Err, want)
}

func (f follower) wantNothing(d time.Duration) {
	f.w.Helper()
	ctx, cancel := context.WithTimeout(f.w.Context(), d)
	defer cancel()
	if result, err := f.Next(ctx); err == nil {
		f.w.Errorf("the watch sends %s (error: %v), want nothing", result.CredentialID, result.Err)
	}
}

func (f follower) wantReasonWithin(patience time.Duration, id string, want fault.Reason) {
	f.w.Helper()
	result := f.next(patience)
	if result.CredentialID != id {
		f.w.Errorf("the watch sends %s, want %s", result.CredentialID, id)
	}
	f.w.checkReason(result.Err, want)
}

func (w *world) wantReport(version string, want broker.Outcome, current string) {
	w.Helper()
	decoration, outcome, err := w.broker.ReportRejection(w.Context(), nobody, "mail", version, http.StatusUnauthorized)
	if err != nil || outcome != want || decoration.Version != current {
		w.Errorf("the outcome is %v (error: %v), want %v and the current version", outcome, err, want)
	}
}
