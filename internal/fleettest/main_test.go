package fleettest_test

import (
	"os"
	"testing"

	"github.com/authmaterial/broker/internal/fleettest"
	"github.com/authmaterial/broker/internal/redistest"
)

func TestMain(m *testing.M) { os.Exit(fleettest.Main(m)) }

// oneRedis is the configuration for one server.
func oneRedis(server *redistest.Server) map[string]any { return map[string]any{"url": server.URL()} }
