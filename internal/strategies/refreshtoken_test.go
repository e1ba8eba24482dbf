package strategies_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// rotating returns a credential whose first refresh token is refresh-1.
func rotating(t testing.TB, id, clientSecret, tenant string) *credentials.Credential {
	t.Helper()
	credential := credentialOf(t, `
  fields:
  - {id: client_id, display_name: I, required: true}
  - {id: client_secret, display_name: S, required: true, secret: true}
  - {id: refresh_token, display_name: R, required: true, secret: true}
  - {id: tenant, display_name: T, required: true}
  token_request:
    url: https://p.test/${tenant}/token
    body: FORM
    client_authentication: REQUEST_BODY
    grant_type: refresh_token
    parameters: {refresh_token: "${refresh_token}"}
    response: {refresh_token: refresh_token}
  headers: [{name: A, value: "${token}"}]
`, map[string]string{"client_id": "id", "client_secret": clientSecret, "tenant": tenant, "refresh_token": "refresh-1"})
	credential.ID = id
	return credential
}

// rotatingProvider is a provider that replaces the refresh token with each token. It accepts only the
// last refresh token, which has the number `last`.
type rotatingProvider struct {
	mu     sync.Mutex
	last   int
	used   []string // the refresh tokens in the requests
	answer func(number int) (status int, body string, err error)
	// before is called when a request arrives, and after when it was processed.
	before, after func()
}

func newRotatingProvider() *rotatingProvider { return &rotatingProvider{last: 1} }

func (p *rotatingProvider) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	if p.before != nil {
		p.before()
	}
	status, body, err := p.process(r.PostForm.Get("refresh_token"))
	if p.after != nil {
		p.after()
	}
	if err == nil {
		err = r.Context().Err()
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (p *rotatingProvider) process(refreshToken string) (status int, body string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = append(p.used, refreshToken)
	if refreshToken != fmt.Sprint("refresh-", p.last) {
		return 400, `{"error":"invalid_grant"}`, nil
	}
	p.last++
	if p.answer != nil {
		return p.answer(p.last)
	}
	return 200, tokenAnswer(p.last), nil
}

func tokenAnswer(number int) string {
	return fmt.Sprintf(`{"access_token":"access-%d","refresh_token":"refresh-%[1]d","expires_in":3600}`, number)
}

// memoryTokens is a strategies.RefreshTokens that has only one chain, and can fail.
type memoryTokens struct {
	mu          sync.Mutex
	value       secret.Text
	chains      []strategies.RefreshChain // the chains of all leases
	sequence    int
	interrupted bool
	fence       int
	leaseEnd    time.Time
	// fail returns the error of an operation, and whether the operation has its effect nevertheless.
	fail func(operation string) (effective bool, err error)
}

func (m *memoryTokens) do(operation string, effect func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if effective, err := m.fail(operation); err != nil {
			if effective {
				_ = effect()
			}
			return err
		}
	}
	return effect()
}

func (m *memoryTokens) Lease(_ context.Context, chain strategies.RefreshChain, life time.Duration) (lease strategies.RefreshLease, wait time.Duration, err error) {
	err = m.do("lease", func() error {
		m.chains = append(m.chains, chain)
		if wait = time.Until(m.leaseEnd); wait > 0 {
			return nil
		}
		if m.sequence == 0 {
			m.sequence, m.value = 1, chain.First
		}
		m.fence++
		lease, wait = &memoryLease{m, m.value, m.sequence, m.interrupted, m.fence}, 0
		m.leaseEnd, m.interrupted = time.Now().Add(life), true
		return nil
	})
	return lease, wait, err
}

type memoryLease struct {
	*memoryTokens

	token       secret.Text
	at          int
	interrupted bool
	number      int
}

func (l *memoryLease) Token() secret.Text { return l.token }
func (l *memoryLease) Interrupted() bool  { return l.interrupted }

func (l *memoryLease) Replace(_ context.Context, successor secret.Text) error {
	return l.do("replace", func() error {
		m := l.memoryTokens
		if m.sequence == l.at+1 && m.value.Equal(successor) {
			return nil
		}
		if m.sequence != l.at {
			return strategies.ErrSuperseded
		}
		if m.fence != l.number && time.Now().Before(m.leaseEnd) {
			return errBusy
		}
		m.sequence, m.value, m.interrupted, m.leaseEnd = l.at+1, successor, false, time.Time{}
		return nil
	})
}

func (l *memoryLease) Release(_ context.Context, interrupted bool) error {
	return l.do("release", func() error {
		l.end()
		if l.sequence != l.at {
			return strategies.ErrSuperseded
		}
		l.memoryTokens.interrupted = interrupted
		return nil
	})
}

func (l *memoryLease) end() {
	if l.fence == l.number {
		l.leaseEnd = time.Time{}
	}
}

var (
	errAway = fault.New(fault.StoreUnavailable, "away")
	errBusy = fault.New(fault.ProviderUnavailable, "busy")
)

// refreshWorld has a provider, a store and replicas, which share a credential.
type refreshWorld struct {
	t        *testing.T
	provider *rotatingProvider
	tokens   *memoryTokens
}

// inRefreshWorld runs a test in a bubble in which time passes only while all wait.
func inRefreshWorld(t *testing.T, test func(t *testing.T, w *refreshWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, &refreshWorld{t, newRotatingProvider(), &memoryTokens{}}) })
}

func (w *refreshWorld) client() *strategies.TokenClient {
	return strategies.NewTokenClient(strategies.TokenClientOptions{Transport: w.provider, RefreshTokens: w.tokens})
}

func (w *refreshWorld) replica() *strategies.TokenSource {
	return newTokens(w.t, rotating(w.t, "c", "secret", "tenant"), w.client())
}

// pass lets time pass.
func pass(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // in a bubble, sleeping takes no time

// The method want checks the result of a token request: a token, or the reason and a part of the
// message.
func (w *refreshWorld) want(issued *token.Token, err error, value string, reason fault.Reason, message string) {
	w.t.Helper()
	switch {
	case reason == "" && (err != nil || issued == nil || issued.Value.Reveal() != value):
		w.t.Errorf("the token request returned a token: %v, and the error %v, want %s", issued != nil, err, value)
	case reason != "" && (issued != nil || fault.From(err).Reason != reason || !strings.Contains(err.Error(), message)):
		w.t.Errorf("the token request returned a token: %v, and the error %v, want %s with %q", issued != nil, err, reason, message)
	}
}

func (w *refreshWorld) request(s *strategies.TokenSource, value string, reason fault.Reason, message string) {
	w.t.Helper()
	issued, err := s.RequestToken(w.t.Context())
	w.want(issued, err, value, reason, message)
}

func (w *refreshWorld) wantUsed(used ...string) {
	w.t.Helper()
	if got := strings.Join(w.provider.used, " "); got != strings.Join(used, " ") {
		w.t.Errorf("the provider got the refresh tokens %s, want %s", got, strings.Join(used, " "))
	}
}

func (w *refreshWorld) wantStored(value string, sequence int, interrupted bool) {
	w.t.Helper()
	if m := w.tokens; m.value.Reveal() != value || m.sequence != sequence || m.interrupted != interrupted || time.Now().Before(m.leaseEnd) {
		w.t.Errorf("the store has the refresh token %s (%d), with Interrupted %v and a lease until %v, want %s (%d) with %v and no lease",
			m.value.Reveal(), m.sequence, m.interrupted, m.leaseEnd, value, sequence, interrupted)
	}
}

func TestRefreshTokensFollowEachOther(t *testing.T) {
	inRefreshWorld(t, func(_ *testing.T, w *refreshWorld) {
		a, b := w.replica(), w.replica()
		w.request(a, "access-2", "", "")
		w.request(b, "access-3", "", "")
		w.request(a, "access-4", "", "")
		w.wantUsed("refresh-1", "refresh-2", "refresh-3")
		w.wantStored("refresh-4", 4, false)
		for _, none := range []string{``, `,"refresh_token":null`, `,"refresh_token":false`, `,"refresh_token":true`, `,"refresh_token":0`, `,"refresh_token":""`} {
			w.provider.answer = func(int) (int, string, error) {
				w.provider.last = 4
				return 200, `{"access_token":"access","expires_in":3600` + none + `}`, nil
			}
			w.request(b, "access", "", "") // an answer without a refresh token
			w.wantStored("refresh-4", 4, false)
		}
		long := strings.Repeat("r", 100_000)
		w.provider.answer = func(int) (int, string, error) {
			w.provider.last = 4
			return 200, `{"access_token":"access","expires_in":3600,"refresh_token":"` + long + `"}`, nil
		}
		w.request(b, "access", "", "")
		w.wantStored(long, 5, false)
		w.tokens.value, w.tokens.sequence = secret.New("refresh-4"), 4
		w.provider.answer = func(int) (int, string, error) { return 200, `{"refresh_token":"refresh-5"}`, nil }
		w.request(a, "", fault.ProviderUnavailable, "no access_token") // the refresh token is stored without a token
		w.wantStored("refresh-5", 5, false)
	})
}

func TestStoreFailsBeforeARefresh(t *testing.T) {
	inRefreshWorld(t, func(_ *testing.T, w *refreshWorld) {
		w.tokens.fail = func(string) (bool, error) { return false, errAway }
		w.request(w.replica(), "", fault.StoreUnavailable, "away")
		w.wantUsed()
		w.tokens.fail = func(string) (bool, error) { return true, errAway } // the answer of the store is lost
		w.request(w.replica(), "", fault.StoreUnavailable, "away")
		w.tokens.fail = nil
		w.request(w.replica(), "", fault.ProviderUnavailable, "another replica is using the refresh token")
		pass(20 * time.Second)
		w.request(w.replica(), "access-2", "", "")
		w.wantStored("refresh-2", 2, false)
	})
}

func TestStoreFailsAfterARefresh(t *testing.T) {
	for name, test := range map[string]struct {
		effective bool
		away      time.Duration
		waits     bool // whether the flight gets the token
	}{
		"shortly":               {false, 3 * time.Second, true},
		"without an answer":     {true, 3 * time.Second, true},
		"longer than a flight":  {false, 8 * time.Second, false},
		"long, with its effect": {true, 8 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			inRefreshWorld(t, func(t *testing.T, w *refreshWorld) {
				client := w.client()
				a := newTokens(t, rotating(t, "c", "secret", "tenant"), client)
				again := time.Now().Add(test.away)
				w.tokens.fail = func(operation string) (bool, error) {
					if operation == "replace" && time.Now().Before(again) {
						return test.effective, errAway
					}
					return false, nil
				}
				if !test.waits {
					w.request(a, "", fault.StoreUnavailable, "away")
					if failed := client.StoreRefreshTokens(t.Context()); len(failed) != 1 || failed[0] != "c" {
						t.Errorf("the refresh tokens of the credentials %q are not stored, want those of c", failed)
					}
					w.request(a, "access-2", "", "")
				} else {
					w.request(a, "access-2", "", "")
				}
				w.wantUsed("refresh-1")
				w.wantStored("refresh-2", 2, false)
				w.request(w.replica(), "access-3", "", "")
				w.wantUsed("refresh-1", "refresh-2")
			})
		})
	}
}

// TestUnstoredTokenIsStoredLater has no other call that would store the refresh token.
func TestUnstoredTokenIsStoredLater(t *testing.T) {
	inRefreshWorld(t, func(t *testing.T, w *refreshWorld) {
		client := w.client()
		w.tokens.fail = func(operation string) (bool, error) {
			if operation == "replace" {
				return false, errAway
			}
			return false, nil
		}
		w.request(newTokens(t, rotating(t, "c", "secret", "tenant"), client), "", fault.StoreUnavailable, "away")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if failed := client.StoreLastRefreshTokens(ctx); len(failed) != 1 || ctx.Err() == nil {
			t.Errorf("the refresh tokens of %q are not stored, want those of c, after all of the time", failed)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.AfterFunc(time.Second/2, func() { w.tokens.mu.Lock(); defer w.tokens.mu.Unlock(); w.tokens.fail = nil })
		if failed := client.StoreLastRefreshTokens(ctx); len(failed) != 0 {
			t.Errorf("the refresh tokens of %q are not stored", failed)
		}
		w.wantStored("refresh-2", 2, false)
	})
}

func TestReplicasWaitForEachOther(t *testing.T) {
	inRefreshWorld(t, func(_ *testing.T, w *refreshWorld) {
		busy := 2 * time.Second
		w.provider.before = func() { pass(busy) }
		first := make(chan struct{})
		go func() { defer close(first); w.request(w.replica(), "access-2", "", "") }()
		synctest.Wait()
		w.request(w.replica(), "access-3", "", "")
		<-first
		busy = 9 * time.Second
		second := make(chan struct{})
		go func() { defer close(second); w.request(w.replica(), "access-4", "", "") }()
		synctest.Wait()
		began := time.Now()
		_, err := w.replica().RequestToken(w.t.Context())
		w.want(nil, err, "", fault.ProviderUnavailable, "another replica is using")
		if waited, delay := time.Since(began), fault.From(err).RetryDelay; waited > 6*time.Second || delay != time.Second {
			w.t.Errorf("the call waited for %v and returned the retry delay %v", waited, delay)
		}
		<-second
		w.wantUsed("refresh-1", "refresh-2", "refresh-3")
	})
}

func TestRefusedRefreshToken(t *testing.T) {
	inRefreshWorld(t, func(t *testing.T, w *refreshWorld) {
		w.provider.last = 7 // somebody else used the refresh token
		_, err := w.replica().RequestToken(t.Context())
		const message = "P refused the credential (HTTP 400, invalid_grant): obtain a new refresh token and rotate the credential"
		if fault.From(err).Reason != fault.CredentialRejected || err.Error() != message {
			t.Errorf("the error of a refused refresh token is %v, want %s", err, message)
		}
		w.wantStored("refresh-1", 1, false)
		w.provider.last = 1
		w.provider.answer = func(int) (int, string, error) {
			w.provider.last = 1
			return 401, `{"error":"invalid_client"}`, nil
		}
		if _, err := w.replica().RequestToken(t.Context()); fault.From(err).Reason != fault.CredentialRejected || strings.Contains(err.Error(), "refresh") {
			t.Errorf("the error of a refused client is %v, which should not blame the refresh token", err)
		}
	})
}

// TestInterruptedRefresh lets the provider replace the refresh token without an answer. The provider
// accepts the old refresh token once more, or not.
func TestInterruptedRefresh(t *testing.T) {
	for name, patient := range map[string]bool{"accepted": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			inRefreshWorld(t, func(_ *testing.T, w *refreshWorld) {
				w.provider.answer = func(int) (int, string, error) { return 0, "", errors.New("the connection broke") }
				w.request(w.replica(), "", fault.ProviderUnavailable, "cannot be reached")
				w.wantStored("refresh-1", 1, true)
				w.provider.answer = nil
				if patient {
					w.provider.last = 1
					w.request(w.replica(), "access-2", "", "")
					w.wantStored("refresh-2", 2, false)
					return
				}
				const what = "the refresh token was used by a refresh that was interrupted: obtain a new one and rotate the credential"
				for range 2 {
					w.request(w.replica(), "", fault.CredentialRejected, what)
				}
				w.wantStored("refresh-1", 1, true)
			})
		})
	}
}

// TestLateSuccessor suspends a replica, whose lease ends, between the provider's answer and the store.
// The replica resumes while another replica uses the refresh token again, which the provider accepts or
// not. The late successor must not be stored before the provider has answered.
func TestLateSuccessor(t *testing.T) {
	for name, patient := range map[string]bool{"accepted again": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			inRefreshWorld(t, func(_ *testing.T, w *refreshWorld) {
				resume, first := make(chan struct{}), make(chan struct{})
				suspend := sync.OnceFunc(func() { <-resume })
				w.tokens.fail = func(operation string) (bool, error) {
					if operation == "replace" {
						w.tokens.mu.Unlock()
						suspend()
						w.tokens.mu.Lock()
					}
					return false, nil
				}
				a, b := w.replica(), w.replica()
				go func() { defer close(first); w.request(a, "", fault.ProviderUnavailable, "busy") }()
				synctest.Wait()
				pass(21 * time.Second)
				w.provider.before = sync.OnceFunc(func() {
					close(resume)
					<-first
					if w.tokens.sequence != 1 {
						t.Error("the successor was stored while another replica was using the refresh token")
					}
					if patient {
						w.provider.last = 1
						w.provider.answer = func(int) (int, string, error) { w.provider.last = 3; return 200, tokenAnswer(3), nil }
					}
				})
				if patient {
					w.request(b, "access-3", "", "")
					w.request(a, "", fault.ProviderUnavailable, "another replica replaced")
					w.wantStored("refresh-3", 2, false)
					return
				}
				w.request(b, "", fault.CredentialRejected, "a refresh that was interrupted")
				w.request(a, "access-2", "", "")
				w.wantStored("refresh-2", 2, false)
				w.request(b, "access-3", "", "")
			})
		})
	}
}

func TestCallersCannotCancelARefresh(t *testing.T) {
	inRefreshWorld(t, func(t *testing.T, w *refreshWorld) {
		ctx, cancel := context.WithCancel(t.Context())
		w.provider.before = cancel
		issued, err := w.replica().RequestToken(ctx)
		w.want(issued, err, "access-2", "", "")
		w.wantStored("refresh-2", 2, false)
	})
}

// slowTokens returns each lease 9 seconds after the lease began.
type slowTokens struct{ *memoryTokens }

func (s slowTokens) Lease(ctx context.Context, chain strategies.RefreshChain, life time.Duration) (strategies.RefreshLease, time.Duration, error) {
	lease, wait, err := s.memoryTokens.Lease(ctx, chain, life)
	pass(9 * time.Second)
	return lease, wait, err
}

// TestRefreshEndsBeforeItsLease has a slow store, and a provider that does not answer.
func TestRefreshEndsBeforeItsLease(t *testing.T) {
	inRefreshWorld(t, func(t *testing.T, w *refreshWorld) {
		silent := transport(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			if left := time.Until(w.tokens.leaseEnd); left < 2*time.Second {
				t.Errorf("the refresh ended %v before its lease, want at least 2 seconds", left)
			}
			return nil, r.Context().Err()
		})
		client := strategies.NewTokenClient(strategies.TokenClientOptions{Transport: silent, RefreshTokens: slowTokens{w.tokens}})
		w.request(newTokens(t, rotating(t, "c", "secret", "tenant"), client), "", fault.ProviderUnavailable, "cannot be reached")
		w.wantStored("refresh-1", 1, true)
	})
}

func TestChainOfRefreshTokens(t *testing.T) {
	inRefreshWorld(t, func(t *testing.T, w *refreshWorld) {
		keys := map[string]bool{}
		for _, c := range []*credentials.Credential{
			rotating(t, "c", "secret", "tenant"), rotating(t, "c", "changed", "tenant"),
			rotating(t, "c", "secret", "other"), rotating(t, "d", "secret", "tenant"),
		} {
			source := newTokens(t, c, w.client())
			keys[source.TokenKey()] = true
			_, _ = source.RequestToken(t.Context())
		}
		if len(keys) != 4 {
			t.Errorf("4 credentials have %d token keys", len(keys))
		}
		chains := w.tokens.chains
		if len(chains) != 4 || !same(chains[0], chains[1]) || same(chains[0], chains[2]) || same(chains[0], chains[3]) {
			t.Error("a chain must depend on the credential and the URL, and not on the client secret")
		}
	})
}

// TestChainOfHosts checks that refresh tokens which may be sent to a URL from an answer are used only for
// the same hosts.
func TestChainOfHosts(t *testing.T) {
	credential := credentialOf(t, `
  fields:
  - {id: refresh_token, display_name: R, required: true, secret: true}
  token_request:
    first:
    - {id: login, url: "https://p.test/login", body: NONE, values: {url: url}}
    - {id: next, url: "${login.url}/next", body: FORM, parameters: {r: "${refresh_token}"}, values: {session: session}}
    url: https://p.test/token
    body: FORM
    client_authentication: NONE
    parameters: {session: "${next.session}"}
    response: {refresh_token: refresh_token}
  headers: [{name: A, value: "${token}"}]
`, map[string]string{"refresh_token": "refresh-1"})
	store := &memoryTokens{}
	client := strategies.NewTokenClient(strategies.TokenClientOptions{Transport: answering([]byte(`{}`)), RefreshTokens: store})
	for _, hosts := range [][]string{{"p.test", "a.test"}, {"a.test", "p.test"}, {"p.test", "b.test"}} {
		credential.AllowedHosts = hosts
		if _, err := newTokens(t, credential, client).RequestToken(t.Context()); err == nil {
			t.Fatal("an answer without values has a token")
		}
	}
	if chains := store.chains; !same(chains[0], chains[1]) || same(chains[0], chains[2]) {
		t.Errorf("the chain must depend on the hosts, and not on their order: %q, %q, %q", chains[0].Recipient, chains[1].Recipient, chains[2].Recipient)
	}
}

func same(a, b strategies.RefreshChain) bool {
	return a.CredentialID == b.CredentialID && a.First.Equal(b.First) && a.Recipient == b.Recipient
}

func TestRefreshTokensNeedAStore(t *testing.T) {
	client := strategies.NewTokenClient(strategies.TokenClientOptions{Transport: answering([]byte(tokenAnswer(2)))})
	_, err := newTokens(t, rotating(t, "c", "secret", "tenant"), client).RequestToken(t.Context())
	if fault.From(err).Reason != fault.StoreUnavailable {
		t.Errorf("a token request without a store returned the error %v", err)
	}
}
