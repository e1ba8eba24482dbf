package cache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// sameUntilItsEnd makes the provider issue the same token until it ends, as some providers do. Each
// answer of the provider contains the token's remaining lifetime, or no lifetime if less than a
// second remains.
func sameUntilItsEnd(p *provider) {
	began := time.Now()
	p.issue = func() *token.Token {
		age := time.Since(began)
		issued := &token.Token{
			Value:       newValue(fmt.Sprintf("hour-%d", age/time.Hour)),
			RequestedAt: time.Now(),
			Lifetime:    (time.Hour - age%time.Hour).Truncate(time.Second),
		}
		if issued.Lifetime == 0 {
			issued.Lifetime, issued.Assumed = time.Hour, true
		}
		return issued
	}
}

func TestProviderThatIssuesATokenUntilItEnds(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) { p.latency = 0 })
		w.provider.set(sameUntilItsEnd)
		for w.elapsed() < 3*time.Hour {
			want := fmt.Sprintf("hour-%d", w.elapsed()/time.Hour)
			if got, err := w.get(); err != nil || got != want {
				w.Fatalf("after %v the token is %q, error %v; want token %q", w.elapsed(), got, err, want)
			}
			w.pass(500 * time.Millisecond)
		}
		// In each hour, one token request brings a new token, and about a dozen bring the same
		// token again.
		if n := w.provider.count(); n > 3*20 {
			w.Errorf("the Cache made %d token requests in three hours", n)
		}
	})
}

func TestProviderThatIssuesARejectedTokenAgain(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) {
			p.latency = 0
			p.answer = func(n int) (string, error) { return map[bool]string{true: "good", false: "bad"}[n == 2], nil }
		})
		w.want("bad")
		w.wantReport("bad", "good", true)
		for w.elapsed() < end {
			w.want("good")
			w.pass(time.Second)
		}
		_, err := w.get()
		w.checkReason(err, fault.ProviderUnavailable)
		if n := w.provider.count(); n > 30 {
			w.Errorf("the Cache made %d token requests without backing off", n)
		}
	})
}

func TestFailedForcedRenewalsDoNotCount(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.provider.set(failing(unavailable))
		for range 5 {
			_, _, err := w.report("token-1")
			w.checkReason(err, fault.ProviderUnavailable)
			w.pass(time.Minute)
		}
		w.provider.set(working)
		w.wantReport("token-1", "token-7", true)
	})
}

func TestReportedTokenDoesNotComeBackThroughARenewalThatItJoined(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.provider.set(func(p *provider) {
			p.answer = func(n int) (string, error) { return []string{"A", "B", "A", "C"}[min(n, 4)-1], nil }
		})
		w.want("A")
		w.pass(renewal - 100*time.Millisecond) // the renewal is under way
		w.wantReport("A", "B", true)
		w.pass(renewal + time.Second) // the renewal brings token A again, so another request follows
		w.pass(2 * time.Second)
		w.want("C")
	})
}

func TestForgetFailuresReachesARenewal(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		w.want("token-1")
		w.pass(renewal - time.Minute)
		w.provider.set(failing(fault.New(fault.CredentialRejected, "refused")))
		w.pass(time.Minute + time.Second)
		w.wantRequests(2)
		w.provider.set(working)
		if err := w.fleet[0].ForgetFailures(w.Context()); err != nil {
			w.Fatal(err)
		}
		w.pass(time.Second)
		w.want("token-3")
	})
}
