package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// The memory beyond which garbage is collected more often: a part for what clients have the
// broker keep, and a multiple of what the configuration takes up, for tokens and reloads.
const (
	memoryForClients   = 40 << 20
	memoryForLiveBytes = 4
)

// boundMemory has garbage not double what hostile clients have the broker keep. It is called
// when a configuration was read. GOMEMLIMIT is the operator's own bound.
func boundMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	runtime.GC() // so that what lives is known
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetMemoryLimit(memoryForClients + memoryForLiveBytes*int64(live[0].Value.Uint64())) //nolint:gosec // no heap is that large
}
