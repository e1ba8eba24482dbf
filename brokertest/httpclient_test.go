package brokertest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/brokertest"
)

// TestHTTPClientWith sends requests during two lifetimes of a token, by the broker's clock. The first
// two requests use one token; the next request gets the next token.
func TestHTTPClientWith(t *testing.T) {
	clock := clockwork.NewFakeClock()
	h := newHarness(t, brokertest.WithClock(clock))
	for i, pause := range []time.Duration{0, time.Minute, time.Hour} {
		clock.Advance(pause)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.sendpulse.com/user/info", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := h.HTTPClientWith("sendpulse-oauth").Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("request %d: the provider answers %d, want 200", i, response.StatusCode)
		}
		if n, want := h.Simulator.SendPulse.TotalTokenRequests(), []int{1, 1, 2}[i]; n != want {
			t.Errorf("request %d: the provider received %d token requests, want %d", i, n, want)
		}
	}
}
