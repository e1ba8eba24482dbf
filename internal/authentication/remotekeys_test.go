package authentication_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

func remoteIssuer(s *authtest.KeyServer) authentication.Issuer {
	return authentication.Issuer{
		Name: "main", Issuer: "https://issuer.test", Audiences: []string{"broker"},
		URL: s.URL + "/keys?secret=canary", RootCAs: s.Roots(),
	}
}

// remote authenticates the tokens of an issuer whose keys are fetched from a server.
type remote struct {
	*testing.T
	server *authtest.KeyServer
	clock  *clockwork.FakeClock
	jwt    *jwt
	log    *log
	tokens map[string]string // the tokens that the test sends, by key ID
}

func newRemote(t *testing.T, change func(*authtest.KeyServer, *authentication.Issuer, *authentication.KeyOptions), keys ...authtest.Key) remote {
	t.Helper()
	r := remote{T: t, server: authtest.NewKeyServer(t, keys...), clock: clockwork.NewFakeClockAt(now), log: new(log), tokens: map[string]string{}}
	options := authentication.KeyOptions{Clock: r.clock, Logger: slog.New(slog.NewTextHandler(r.log, nil))}
	issuer := remoteIssuer(r.server)
	if change != nil {
		change(r.server, &issuer, &options)
	}
	for _, k := range []authtest.Key{keyES, keyES2, keyUnknown} {
		r.tokens[k.ID] = mint(k, nil, authtest.Claims{"exp": now.Add(100 * time.Hour).Unix()})
	}
	r.jwt = newJWTWith(t, options, issuer)
	return r
}

// ask authenticates with a token that the key has signed. All calls with the same key send the same
// token.
func (r remote) ask(k authtest.Key) error {
	caller, err := r.jwt.Authenticate(r.Context(), bearer(r.tokens[k.ID]))
	if err == nil && caller.Name != "jwt:main:alice" {
		r.Errorf("the caller is %s", caller.Name)
	}
	return err
}

func (r remote) wantGood(k authtest.Key) {
	r.Helper()
	if err := r.ask(k); err != nil {
		r.Errorf("%s: %v", k.ID, err)
	}
}

func (r remote) wantUnknown(k authtest.Key) {
	r.Helper()
	wantRefused(r.T, r.ask(k), fault.CallerUnauthenticated, "the bearer token is signed with an unknown key")
}

// awaitRequest waits until the running request for keys has ended. A token that is accepted with
// the fetched keys does not show this, because the keys are used shortly before the end.
func (r remote) awaitRequest() {
	r.Helper()
	switch err := r.ask(keyUnknown); fault.From(err).Reason { // this call starts no request if the keys were fetched less than 10 seconds ago
	case fault.CallerUnauthenticated, fault.AuthenticationUnavailable:
	default:
		r.Fatal(err)
	}
}

// wantThrottled checks that the token of a key is refused temporarily, with the given retry delay.
func (r remote) wantThrottled(k authtest.Key, delay time.Duration) {
	r.Helper()
	err := r.ask(k)
	wantRefused(r.T, err, fault.AuthenticationUnavailable, "the bearer token is signed with an unknown key, and the issuer's keys were fetched a moment ago: try again later")
	if got := fault.From(err).RetryDelay; got != delay || !errors.Is(err, authentication.ErrKeyRefreshThrottled) {
		r.Errorf("the error is %v with the retry delay %v, want %v", err, got, delay)
	}
}

func (r remote) wantUnavailable(k authtest.Key) {
	r.Helper()
	wantRefused(r.T, r.ask(k), fault.AuthenticationUnavailable, "the keys of the token's issuer cannot be fetched just now")
}

func (r remote) wantRequests(n int64) {
	r.Helper()
	if got := r.server.Requests(); got != n {
		r.Errorf("the server had %d requests, want %d", got, n)
	}
}

type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after a minute, this is still not true: %s", what)
		}
	}
}

// TestRotation checks that a token with a new key of the issuer causes one request for keys, and
// that tokens with unknown keys cause at most one request every 10 seconds.
func TestRotation(t *testing.T) {
	r := newRemote(t, nil, keyES)
	eventually(t, "the keys are fetched before the first call", func() bool { return r.server.Requests() == 1 })
	for range 3 {
		r.wantGood(keyES)
	}
	r.wantRequests(1)
	r.server.Has(keyES, keyES2)
	r.awaitRequest()
	r.clock.Advance(4 * time.Second)
	r.wantThrottled(keyES2, 6*time.Second)
	r.clock.Advance(6 * time.Second)
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() { r.wantGood(keyES2) })
	}
	callers.Wait()
	r.wantRequests(2)
	r.clock.Advance(10 * time.Second)
	for range 20 {
		callers.Go(func() { r.wantUnknown(keyUnknown) })
	}
	callers.Wait()
	r.wantRequests(3)
	r.clock.Advance(4 * time.Second)
	r.wantUnknown(keyUnknown) // keys were requested after this token was first sent, and its key is not among them
	r.tokens[keyUnknown.ID] = mint(keyUnknown, nil, authtest.Claims{"sub": "another"})
	r.wantThrottled(keyUnknown, 6*time.Second)
	r.wantGood(keyES)
	for what, token := range map[string]string{
		"the bearer token is signed with an algorithm that is not accepted": mint(keyES.BySecret("a"), map[string]any{"kid": "x"}, nil),
		"the bearer token has an issuer that is not accepted":               mint(keyUnknown, nil, authtest.Claims{"iss": "https://evil.test"}),
	} {
		r.clock.Advance(10 * time.Second)
		_, err := r.jwt.Authenticate(t.Context(), bearer(token))
		wantRefused(t, err, fault.CallerUnauthenticated, what)
	}
	if got := r.log.String(); got != "" {
		t.Errorf("the log is\n%s", got)
	}
	r.wantRequests(3)
}

// In TestRotationDuringARequest, the issuer gets a new key while a request that another token
// caused runs. The answer contains only the previous keys, so tokens with the new key are refused
// temporarily.
func TestRotationDuringARequest(t *testing.T) {
	r := newRemote(t, nil, keyES)
	r.wantGood(keyES)
	r.awaitRequest()
	arrived, release := make(chan struct{}), make(chan struct{})
	r.server.Does(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = w.Write(authtest.KeySet(keyES))
	})
	r.clock.Advance(10 * time.Second)
	var callers sync.WaitGroup
	callers.Go(func() { r.wantUnknown(keyUnknown) })
	<-arrived
	r.server.Has(keyES, keyES2)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.jwt.Authenticate(cancelled, bearer(r.tokens[keyES2.ID])); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want context.Canceled: the call must wait for the request", err)
	}
	callers.Go(func() { r.wantThrottled(keyES2, 10*time.Second) })
	close(release)
	callers.Wait()
	r.clock.Advance(4 * time.Second)
	r.wantThrottled(keyES2, 6*time.Second)
	r.clock.Advance(6 * time.Second)
	r.wantGood(keyES2)
	r.wantRequests(3)
}

// TestRevokedKey checks that the tokens of a withdrawn key are refused after the keys were fetched
// again in the background.
func TestRevokedKey(t *testing.T) {
	var changes atomic.Int64
	has := func(keys ...authtest.Key) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=86400")
			_, _ = w.Write(authtest.KeySet(keys...))
		}
	}
	r := newRemote(t, func(server *authtest.KeyServer, _ *authentication.Issuer, options *authentication.KeyOptions) {
		server.Does(has(keyES, keyES2))
		options.MaxAge = time.Second // the headers of an answer cannot lengthen the maximum age
		options.Changed = func() { changes.Add(1) }
	})
	r.wantGood(keyES)
	r.wantGood(keyES2)
	eventually(t, "the same keys are fetched again", func() bool { return r.server.Requests() > 1 })
	r.server.Does(has(keyES2))
	eventually(t, "the key is withdrawn", func() bool { return r.ask(keyES) != nil })
	r.wantUnknown(keyES)
	r.wantGood(keyES2)
	r.server.Has(keyES2) // from now on, the answers have no Cache-Control header
	before := r.server.Requests()
	eventually(t, "the answer without a header is fetched", func() bool { return r.server.Requests() > before })
	r.server.Has() // withdraws all keys
	eventually(t, "no key is left", func() bool { return r.ask(keyES2) != nil })
	r.wantUnknown(keyES2)
	eventually(t, "the last change is reported", func() bool { return changes.Load() >= 3 }) // new keys are in use before their change is reported
	if got := changes.Load(); got != 3 {
		t.Errorf("the keys changed %d times, want 3 changes: the first keys, one withdrawn key, and no keys", got)
	}
}

// In TestOutOfReach, the first requests for the keys of an issuer fail.
func TestOutOfReach(t *testing.T) {
	r := newRemote(t, func(server *authtest.KeyServer, _ *authentication.Issuer, _ *authentication.KeyOptions) {
		server.Fails()
	})
	for range 3 {
		r.wantUnavailable(keyES)
	}
	r.wantRequests(1)
	r.clock.Advance(10 * time.Second)
	r.wantUnavailable(keyES)
	r.wantRequests(2)
	r.server.Has(keyES)
	r.clock.Advance(4 * time.Second)
	var known *fault.Error
	if err := r.ask(keyES); !errors.As(err, &known) || known.RetryDelay != 6*time.Second {
		t.Errorf("the error is %v with the retry delay %v, want 6s", err, known.RetryDelay)
	}
	r.clock.Advance(6 * time.Second)
	r.wantGood(keyES)
	r.wantRequests(3)
	if got := r.log.String(); strings.Count(got, "cannot be fetched") != 1 || strings.Count(got, "can be fetched again") != 1 ||
		!strings.Contains(got, `issuer=main cause="the answer has a status other than 200"`) || strings.Contains(got, "canary") {
		t.Errorf("the log is\n%s", got)
	}
}

// TestStaleKeys checks that the last fetched keys stay in use for a day if keys cannot be fetched
// again.
func TestStaleKeys(t *testing.T) {
	r := newRemote(t, nil, keyES)
	r.wantGood(keyES)
	r.awaitRequest()
	r.server.Fails()
	r.clock.Advance(10 * time.Second)
	r.wantUnavailable(keyES2) // the missing key may be a new one
	r.wantGood(keyES)
	r.clock.Advance(24*time.Hour - 10*time.Second)
	r.wantGood(keyES)
	r.clock.Advance(time.Second)
	r.wantUnavailable(keyES)
	r.server.Has(keyES)
	r.clock.Advance(10 * time.Second)
	r.wantGood(keyES)
}

func byName(i *authentication.Issuer) { i.URL = strings.Replace(i.URL, "127.0.0.1", "localhost", 1) }

// TestBadAnswers checks that a failed request and an answer without keys change nothing, and that
// the log reports the cause without quoting the answer.
func TestBadAnswers(t *testing.T) {
	elsewhere := authtest.NewKeyServer(t, keyES)
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		change func(*authentication.Issuer)
		cause  string
	}{
		"not found":  {http.NotFound, nil, "the answer has a status other than 200"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, nil, "the answer has a status other than 200"},
		"HTML":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>canary")) }, nil, "the answer is not a JSON Web Key Set of up to 1 MiB and 1000 keys"},
		"one key": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"kty":"OKP","crv":"Ed25519","kid":"\"keys\"","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
		}, nil, "the answer is not a JSON Web Key Set of up to 1 MiB and 1000 keys"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(append(authtest.KeySet(keyES), bytes.Repeat([]byte(" "), 1<<20)...))
		}, nil, "the answer is not a JSON Web Key Set of up to 1 MiB and 1000 keys"},
		"headers too large": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("a", 128<<10))
			_, _ = w.Write(authtest.KeySet(keyES))
		}, nil, "the connection failed"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = w.Write(authtest.KeySet(keyES))
		}, nil, "the connection was cut off"},
		"unknown authority": {nil, func(i *authentication.Issuer) { i.RootCAs = nil }, "the server's certificate is signed by an unknown authority"},
		"a private host":    {nil, byName, "the host has a private, local or special address, and allow_private_addresses is not set"},
		"a private address": {nil, func(i *authentication.Issuer) { i.URL = "https://169.254.169.254/canary" }, "the host has a private, local or special address, and allow_private_addresses is not set"},
		"another host": {nil, func(i *authentication.Issuer) {
			byName(i)
			i.AllowPrivate = true
		}, "the server's certificate is for another host"},
		"nobody listens": {nil, func(i *authentication.Issuer) { i.URL = "https://127.0.0.1:1/canary" }, "the connection was refused"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t, func(server *authtest.KeyServer, issuer *authentication.Issuer, _ *authentication.KeyOptions) {
				if test.answer != nil {
					server.Does(test.answer)
				}
				if test.change != nil {
					test.change(issuer)
				}
			}, keyES)
			r.wantUnavailable(keyES)
			if got := r.log.String(); !strings.Contains(got, `issuer=main cause="`+test.cause+`"`) || strings.Contains(got, "canary") || strings.Contains(got, "https:") {
				t.Errorf("the log is\n%swant the cause %q", got, test.cause)
			}
		})
	}
	if got := elsewhere.Requests(); got != 0 {
		t.Errorf("the redirect was followed %d times", got)
	}
}

// In TestPublishedPrivateKey, a key set contains a private key. The private key must not be used,
// because everybody can sign tokens with it.
func TestPublishedPrivateKey(t *testing.T) {
	published := keyES2.With(map[string]any{"d": authtest.Encode(append(make([]byte, 31), 1))})
	r := newRemote(t, nil, keyES, published)
	r.wantGood(keyES)
	r.awaitRequest()
	r.clock.Advance(10 * time.Second)
	r.wantUnknown(keyES2)
}

// In TestWithdrawnWithinThePause, a key is withdrawn just after a token with an unknown key caused
// a request. A token of the withdrawn key must be refused at once if any KeyFetcher accepted the
// token before: its key is not a new one, for which another request would be needed.
func TestWithdrawnWithinThePause(t *testing.T) {
	r := newRemote(t, nil, keyES)
	r.wantGood(keyES)
	fresh := newJWTWith(t, authentication.KeyOptions{Clock: r.clock})
	r.awaitRequest()
	r.server.Has(keyES2)
	r.clock.Advance(10 * time.Second)
	r.wantUnknown(keyUnknown)
	r.wantUnknown(keyES)
	fresh.use(remoteIssuer(r.server))
	if _, err := fresh.Authenticate(t.Context(), bearer(r.tokens[keyES2.ID])); err != nil {
		t.Fatal(err)
	}
	evidence := bearer(r.tokens[keyES.ID])
	evidence.Proved = true
	_, err := fresh.Authenticate(t.Context(), evidence)
	wantRefused(t, err, fault.CallerUnauthenticated, "the bearer token is signed with an unknown key")
}

// TestKeyURLs checks URLs from which no keys may be fetched.
func TestKeyURLs(t *testing.T) {
	for _, location := range []string{"", "http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "https://2130706433/", "https://127.0.0.1./", "https://a:canary@b.test/", "https://b.test/#canary", "ftp://b.test/", "https://b.test:99999/", "https://b.test:0/"} {
		if err := authentication.CheckKeyURL(location); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: the error is %v", location, err)
		}
	}
	var requested atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requested.Store(true) }))
	defer server.Close()
	r := newRemote(t, func(_ *authtest.KeyServer, issuer *authentication.Issuer, _ *authentication.KeyOptions) {
		issuer.URL = server.URL
	})
	r.wantUnavailable(keyES)
	if requested.Load() {
		t.Error("keys were requested over plain http")
	}
}

// TestHungServer checks that, while a key server does not answer, a cancelled call returns at once,
// and calls with known keys do not wait.
func TestHungServer(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRemote(t, nil, keyES)
	r.wantGood(keyES)
	r.awaitRequest()
	hung := make(chan struct{})
	r.server.Does(func(_ http.ResponseWriter, request *http.Request) {
		close(hung)
		<-request.Context().Done()
	})
	r.clock.Advance(10 * time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan error, 1)
	go func() {
		_, err := r.jwt.Authenticate(ctx, bearer(mint(keyES2, nil, nil)))
		returned <- err
	}()
	<-hung
	r.wantGood(keyES)
	cancel()
	if err := <-returned; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want the error of the cancelled call", err)
	}
	r.jwt.Close() // Close cancels a request; the log must not report this request
	r.server.Close()
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
	if got := r.log.String(); got != "" {
		t.Errorf("the log is\n%s", got)
	}
}

// In TestServersWithOneIssuer, two issuers have the same claim "iss" and different key servers. One
// server lacks the token's key, and the other cannot be reached. In both orders of the issuers, the
// error must be that the token cannot be checked.
func TestServersWithOneIssuer(t *testing.T) {
	for _, first := range []bool{true, false} {
		good, bad := authtest.NewKeyServer(t, keyES), authtest.NewKeyServer(t)
		bad.Fails()
		issuers := []authentication.Issuer{remoteIssuer(bad), remoteIssuer(good)}
		if !first {
			issuers[0], issuers[1] = issuers[1], issuers[0]
		}
		jwt := newJWT(t, issuers...)
		if _, err := jwt.Authenticate(t.Context(), bearer(mint(keyES, nil, nil))); err != nil {
			t.Error(err)
		}
		_, err := jwt.Authenticate(t.Context(), bearer(mint(keyES2, nil, nil)))
		wantRefused(t, err, fault.AuthenticationUnavailable, "")
		_, err = jwt.Authenticate(t.Context(), bearer(mint(keyES, nil, authtest.Claims{"aud": "other"})))
		wantRefused(t, err, fault.CallerUnauthenticated, "the bearer token is for another audience")
		if good.Requests() != 1 || bad.Requests() != 1 {
			t.Errorf("the two servers had %d and %d requests, want one request each", good.Requests(), bad.Requests())
		}
	}
}

// TestUseKeepsKeys checks that Use and Prepare fetch only keys whose URL or rules changed, and stop
// fetching keys that are no longer needed.
func TestUseKeepsKeys(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRemote(t, nil, keyES)
	r.wantGood(keyES)
	issuer := remoteIssuer(r.server)
	issuer.Name, issuer.Audiences = "renamed", []string{"broker", "more"}
	second := issuer
	second.Name, second.Issuer = "second", "https://second.test"
	for range 3 {
		r.jwt.use(second, issuer)
		caller, err := r.jwt.Authenticate(t.Context(), bearer(mint(keyES, nil, map[string]any{"aud": "more"})))
		if err != nil || caller.Name != "jwt:renamed:alice" {
			t.Errorf("the caller is %q (%v)", caller.Name, err)
		}
	}
	r.wantRequests(1)
	fresh := newJWT(t, issuer, second)
	if _, err := fresh.Authenticate(t.Context(), bearer(mint(keyES, nil, nil))); err != nil {
		t.Error(err)
	}
	fresh.Close()
	r.wantRequests(2)          // both issuers together cause one request
	issuer.AllowPrivate = true // a change of this setting makes the broker fetch the keys again
	r.jwt.use(issuer)
	if _, err := r.jwt.Authenticate(t.Context(), bearer(mint(keyES, nil, map[string]any{"aud": "more"}))); err != nil {
		t.Error(err)
	}
	r.wantRequests(3)
	issuer.RootCAs = nil // the keys are fetched again after a change of the trusted authorities
	r.jwt.use(issuer)
	_, err := r.jwt.Authenticate(t.Context(), bearer(mint(keyES, nil, nil)))
	wantRefused(t, err, fault.AuthenticationUnavailable, "")
	r.jwt.Close()
	r.server.Close()
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}
