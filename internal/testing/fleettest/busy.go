package fleettest

import (
	"context"
	"os/exec"
	"sync"
	"testing"

	"github.com/authmaterial/broker/internal/testing/processtest"
)

// `spin` is a shell program that uses one CPU core for 30 seconds at most.
const spin = "ulimit -t 30; while :; do :; done"

// Busy starts processes that use all CPU time of the machine, until `end` is called or the test
// ends.
func Busy(t testing.TB, processes int) (end func()) {
	t.Helper()
	var all []*processtest.Process
	end = sync.OnceFunc(func() {
		for _, p := range all {
			p.Kill()
		}
	})
	t.Cleanup(end)
	for range processes {
		p, err := processtest.Start(exec.CommandContext(context.Background(), "/bin/sh", "-c", spin))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return end
}
