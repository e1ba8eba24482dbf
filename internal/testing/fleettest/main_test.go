package fleettest_test

import (
	"os"
	"testing"

	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

func TestMain(m *testing.M) { os.Exit(fleettest.Main(m)) }

// oneRedis is the configuration for one server.
func oneRedis(server *redistest.Server) map[string]any { return map[string]any{"url": server.URL()} }

// warm has all brokers serve the same tokens, which one of them requests. To start cold is
// more than some machines do in time, and a replica that waits for Redis requests its own.
func warm(t *testing.T, fleet *fleettest.Fleet) {
	t.Helper()
	if err := fleet.Burst(len(fleet.Credentials), fleet.Brokers[0]).Err(); err != nil {
		t.Fatal(err)
	}
	fleet.AwaitSameTokens()
}
