package hostiletest

import (
	"testing"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// TestHalfOpenConnections simulates peers that disappear without closing their connections. The
// broker's keepalive must detect that they are gone, so that the broker closes the connections.
func TestHalfOpenConnections(t *testing.T) {
	t.Parallel()
	b := start(t, variant{proved: true, addresses: 1})
	good := b.firstCaller()
	rest, goroutines := b.atRest(good)
	good.begin()
	crowd(30, func(int) {
		c, err := b.open()
		if err != nil {
			t.Error(err)
			return
		}
		keep(t.Context(), c)
		c.ask(methodWatch, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"key"}})
	})
	b.await("the watches have begun", func() bool { return b.goroutines() > goroutines+30 })
	b.await("the broker closes the connections", func() bool { return b.isBackAt(goroutines) })
	good.end(t)
	if more := b.memory("VmHWM") - rest; more > callerAllowance {
		t.Errorf("the broker used %d MiB more memory than at rest", more>>20)
	}
}
