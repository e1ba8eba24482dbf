package redisstore

import (
	"embed"

	"github.com/redis/go-redis/v9"
)

//go:embed lua
var sources embed.FS

// These are the Lua scripts. The file of each script documents its keys, arguments and reply.
var (
	lookScript       = newScript("entry", "look")
	commitScript     = newScript("entry", "commit")
	failScript       = newScript("entry", "fail")
	forcedWaitScript = newScript("entry", "forcedwait")
	renewScript      = newScript("renew")
	publishScript    = newScript("publish")
	probeScript      = newScript("probe")
	announceScript   = newScript("entry", "announce")
	announcedScript  = newScript("entry", "announced")
	recordScript     = newScript("entry", "record")
	replaceScript    = newScript("entry", "replace")
)

// newScript returns a script that consists of the contents of the named files.
func newScript(names ...string) *redis.Script {
	var source string
	for _, name := range names {
		text, err := sources.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // if a file is missing, the repository is wrong
		}
		source += string(text)
	}
	return redis.NewScript(source)
}
