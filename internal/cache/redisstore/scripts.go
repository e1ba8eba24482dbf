package redisstore

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// The scripts. Each one's head says what it takes, does and returns.
var (
	//go:embed lua/look.lua
	lookSource string
	//go:embed lua/commit.lua
	commitSource string
	//go:embed lua/fail.lua
	failSource string
	//go:embed lua/forcedwait.lua
	forcedWaitSource string
	//go:embed lua/publish.lua
	publishSource string
	//go:embed lua/probe.lua
	probeSource string

	lookScript       = redis.NewScript(lookSource)
	commitScript     = redis.NewScript(commitSource)
	failScript       = redis.NewScript(failSource)
	forcedWaitScript = redis.NewScript(forcedWaitSource)
	publishScript    = redis.NewScript(publishSource)
	probeScript      = redis.NewScript(probeSource)
)
