package verification_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/verification"
)

// `taken` returns how many verifications a limit allows at once, and the delay that it then demands.
func taken(t *testing.T, limit *verification.Limit, caller string, id func(int) string) (n int, delay time.Duration) {
	t.Helper()
	for n = range 1000 {
		if err := limit.Take(caller, id(n)); err != nil {
			limited, ok := errors.AsType[*fault.Error](err)
			if !ok || limited.Reason != fault.RateLimited {
				t.Fatalf("the error is %v, want the reason RATE_LIMITED", err)
			}
			return n, limited.RetryDelay
		}
	}
	t.Fatal("there is no limit")
	return 0, 0
}

func TestLimit(t *testing.T) {
	clock := clockwork.NewFakeClock()
	limit := verification.NewLimit(clock)
	same := func(id string) func(int) string { return func(int) string { return id } }
	check := func(caller string, id func(int) string, wantN int, wantDelay time.Duration) {
		t.Helper()
		if n, delay := taken(t, limit, caller, id); n != wantN || delay.Round(time.Millisecond) != wantDelay {
			t.Errorf("%d verifications, then a delay of %v; want %d and %v", n, delay, wantN, wantDelay)
		}
	}
	check("a", same("x"), 5, 12*time.Second)
	check("a", same("y"), 5, 12*time.Second)
	check("b", same("x"), 5, 12*time.Second)
	clock.Advance(12 * time.Second)
	check("a", same("x"), 1, 12*time.Second)
	clock.Advance(time.Minute)
	check("a", func(n int) string { return fmt.Sprint("id", n) }, 60, time.Second)
}

func TestVerificationUnsupported(t *testing.T) {
	w := newWorld(t)
	credential := *w.credentials["pendo"]
	method := *credential.Method
	method.Verification, credential.Method = nil, &method
	_, err := w.verifier.Verify(t.Context(), &credential, nil)
	unsupported, ok := errors.AsType[*fault.Error](err)
	if !ok || unsupported.Reason != fault.VerificationUnsupported {
		t.Errorf("the error is %v, want the reason VERIFICATION_UNSUPPORTED", err)
	}
	if w.sim.Pendo.APIRequests() != 0 {
		t.Error("a request was sent")
	}
}
