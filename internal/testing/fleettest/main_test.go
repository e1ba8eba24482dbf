package fleettest_test

import (
	"os"
	"testing"

	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

func TestMain(m *testing.M) { os.Exit(fleettest.Main(m)) }

func oneRedis(server *redistest.Server) map[string]any { return map[string]any{"url": server.URL()} }

// `warm` makes one broker request all tokens, and waits until all brokers serve them. If all
// brokers started without tokens on a slow machine, some brokers would wait too long for Redis and
// request tokens of their own.
func warm(t *testing.T, fleet *fleettest.Fleet) {
	t.Helper()
	if err := fleet.Burst(len(fleet.Credentials), fleet.Brokers[0]).Err(); err != nil {
		t.Fatal(err)
	}
	fleet.AwaitSameTokens()
}
