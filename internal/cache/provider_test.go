package cache_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// A provider is a Source whose answers are set by a test.
type provider struct {
	mu       sync.Mutex
	requests int
	lifetime time.Duration
	window   time.Duration
	latency  time.Duration
	ends     bool
	answer   func(n int) (string, error) // returns the answer to the n-th token request; if `answer` is nil, each answer is a new token
	issue    func() *token.Token         // returns the issued token; if `issue` is nil, the token has the value that `answer` returns
	newest   string                      // the token that was issued last
}

func newValue(text string) secret.Text { return secret.New(text) }

// versionsOf implements cache.Options.Versions: in these tests, the version of a decoration is the
// value of its token.
func versionsOf(_ string, t *token.Token) []string { return []string{t.Value.Reveal()} }

func newProvider() *provider {
	return &provider{lifetime: time.Hour, latency: 200 * time.Millisecond}
}

func (*provider) TokenKey() string { return "3f" }

func (p *provider) RequestToken(ctx context.Context) (*token.Token, error) {
	p.mu.Lock()
	p.requests++
	n, latency := p.requests, p.latency
	value, err := fmt.Sprintf("token-%d", n), error(nil)
	if p.answer != nil {
		value, err = p.answer(n)
	}
	issued := &token.Token{Value: secret.New(value), RequestedAt: time.Now(), Lifetime: p.lifetime, Window: p.window, EndsPrevious: p.ends}
	if p.issue != nil {
		issued = p.issue()
	}
	p.mu.Unlock()
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		return nil, fault.New(fault.ProviderUnavailable, "no answer in time")
	}
	if err != nil {
		return nil, err
	}
	p.set(func(p *provider) { p.newest = issued.Value.Reveal() })
	return issued, nil
}

func (p *provider) set(change func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

func failing(what *fault.Error) func(*provider) {
	return func(p *provider) { p.answer = func(int) (string, error) { return "", what } }
}

func working(p *provider) { p.answer = nil }

var unavailable = fault.New(fault.ProviderUnavailable, "the provider is down")

type world struct {
	*testing.T
	provider *provider
	fleet    []*cache.Cache
}

// accepts reports whether the provider accepts a token. If each new token ends the previous one,
// the provider accepts only the newest.
func (p *provider) accepts(value string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ends || value == p.newest
}

// inBubble runs a test with simulated time.
func inBubble(t *testing.T, replicas int, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, provider: newProvider()}
		var store cache.Store // nil if there is only one replica
		if replicas > 1 {
			store = newMemory(clockwork.NewRealClock())
		}
		for range replicas {
			c := cache.New(cache.Options{
				Store:    store,
				Random:   func() float64 { return 0 },
				Logger:   slog.New(slog.DiscardHandler),
				Versions: versionsOf,
			})
			w.fleet = append(w.fleet, c)
		}
		test(w)
		for _, c := range w.fleet {
			c.Close()
		}
		synctest.Wait()
	})
}

func (w *world) get() (string, error) { return w.getFrom(w.Context(), w.fleet[0]) }

func (w *world) getFrom(ctx context.Context, c *cache.Cache) (string, error) {
	t, err := c.Token(ctx, w.provider)
	if err != nil {
		return "", err
	}
	return t.Value.Reveal(), nil
}

func (w *world) report(value string) (current string, replaced bool, err error) {
	return w.reportTo(w.fleet[0], value)
}

func (w *world) reportTo(c *cache.Cache, value string) (current string, replaced bool, err error) {
	t, replaced, err := c.Replace(w.Context(), w.provider, value)
	if err != nil {
		return "", false, err
	}
	return t.Value.Reveal(), replaced, nil
}

func (w *world) want(value string) {
	w.Helper()
	if got, err := w.get(); err != nil || got != value {
		w.Errorf("after %v the token is %q, error %v; want token %q", w.elapsed(), got, err, value)
	}
}

func (w *world) wantError(reason fault.Reason, retryDelay time.Duration) {
	w.Helper()
	got, err := w.get()
	if err == nil {
		w.Errorf("after %v the token is %q; want an error", w.elapsed(), got)
		return
	}
	w.checkFault(err, reason, retryDelay)
}

func (w *world) checkFault(err error, reason fault.Reason, retryDelay time.Duration) {
	w.Helper()
	if err == nil {
		w.Errorf("after %v there is no error", w.elapsed())
		return
	}
	if f := fault.From(err); f.Reason != reason || f.RetryDelay != retryDelay {
		w.Errorf("after %v the error is %v (%v, retry in %v); want %v, retry in %v",
			w.elapsed(), err, f.Reason, f.RetryDelay, reason, retryDelay)
	}
}

func (w *world) checkReason(err error, reason fault.Reason) {
	w.Helper()
	if err == nil || fault.From(err).Reason != reason {
		w.Errorf("after %v the error is %v, want reason %v", w.elapsed(), err, reason)
	}
}

func (w *world) wantRequests(want int) {
	w.Helper()
	synctest.Wait()
	if got := w.provider.count(); got != want {
		w.Errorf("after %v there were %d token requests, want %d", w.elapsed(), got, want)
	}
}

// pass lets simulated time pass, and then waits until all goroutines wait.
func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (*world) elapsed() time.Duration {
	return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
}

// together starts n callers at the same time, and waits until all have returned.
func together(n int, call func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { call(i) })
	}
	all.Wait()
}
