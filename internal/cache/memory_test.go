package cache_test

import (
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/testing/cachetest"
)

func TestMemory(t *testing.T) {
	cachetest.TestStore(t, func(*testing.T) cachetest.Harness {
		clock := clockwork.NewFakeClock()
		return cachetest.Harness{Store: newMemory(clock), Clock: clock, Advance: clock.Advance}
	})
}

// When a credential is removed from the configuration and added again, its token is used again, and
// is not renewed in between.
func TestRetainedUntilItsEnd(t *testing.T) {
	inBubble(t, 1, func(w *world) {
		nothing := func(string) bool { return false }
		c := w.fleet[0]
		w.want("token-1")
		c.Retain(nothing)
		w.pass(renewal + 1)
		w.wantRequests(1)
		w.want("token-1")
		w.wantRequests(2) // the token is renewed, because a caller uses the token again
		c.Retain(nothing)
		w.pass(renewal + end)
		c.Retain(nothing)
		if n := cache.Len(c); n != 0 {
			w.Errorf("the Cache still has %d keys", n)
		}
		w.wantRequests(2)
	})
}

// A credential is removed from the configuration while a call waits for its token. The call gets
// the token, which is never renewed.
func TestKeyDroppedDuringACall(t *testing.T) {
	inFleet(t, 1, func(f *fleet) {
		got := make(chan string)
		go func() {
			value, _ := f.at(0)
			got <- value
		}()
		f.pass(100 * time.Millisecond) // the token request takes 200 ms
		f.fleet[0].Retain(func(string) bool { return false })
		if value := <-got; value != "token-1" {
			f.Errorf("the call got %q, want token-1", value)
		}
		f.pass(2 * end)
		f.wantRequests(1)
	})
}
