package redisstore

import (
	"embed"

	"github.com/redis/go-redis/v9"
)

//go:embed lua
var sources embed.FS

// The scripts. The beginning of each file documents its keys, arguments and reply.
var (
	lookScript       = newScript("entry", "look")
	commitScript     = newScript("entry", "commit")
	failScript       = newScript("entry", "fail")
	forcedWaitScript = newScript("entry", "forcedwait")
	renewScript      = newScript("renew")
	publishScript    = newScript("publish")
	probeScript      = newScript("probe")
)

// newScript returns the script that consists of these files.
func newScript(names ...string) *redis.Script {
	var source string
	for _, name := range names {
		text, err := sources.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // the file is missing from the repository
		}
		source += string(text)
	}
	return redis.NewScript(source)
}
