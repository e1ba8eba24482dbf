package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// The soft memory limit is memoryForClients, for what clients can make the broker keep, plus
// memoryForLiveBytes times the memory in use once a configuration is loaded, for tokens and
// reloads.
const (
	memoryForClients   = 40 << 20
	memoryForLiveBytes = 4
)

// limitMemory sets the soft memory limit, above which garbage is collected more often: garbage
// must not double what hostile clients make the broker keep. Call it after each load of the
// configuration. If the operator set GOMEMLIMIT, that limit stays.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	runtime.GC() // so that the metric is current
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetMemoryLimit(memoryForClients + memoryForLiveBytes*int64(live[0].Value.Uint64())) //nolint:gosec // no heap is that large
}
