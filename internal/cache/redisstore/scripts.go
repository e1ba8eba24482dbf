package redisstore

import (
	"context"
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

// scriptCall has the keys and arguments for a script.
type scriptCall struct {
	keys      []string
	arguments []any
}

// runAll runs a script for each call, all in one round trip.
func (s *Store) runAll(ctx context.Context, operation string, script *redis.Script, calls []scriptCall) (replies []*redis.Cmd, err error) {
	replies = make([]*redis.Cmd, len(calls))
	err = s.do(ctx, operation, func(ctx context.Context) error {
		_, failed := s.client.Pipelined(ctx, func(pipeline redis.Pipeliner) error {
			for i, call := range calls {
				replies[i] = script.EvalSha(ctx, pipeline, call.keys, call.arguments...)
			}
			return nil
		})
		for i, call := range calls {
			if redis.HasErrorPrefix(replies[i].Err(), "NOSCRIPT") {
				replies[i] = script.Eval(ctx, s.client, call.keys, call.arguments...)
				failed = nil
			}
		}
		for _, reply := range replies {
			if reply.Err() != nil {
				return reply.Err()
			}
		}
		return failed
	})
	return replies, err
}
