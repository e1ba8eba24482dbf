package main

import (
	"slices"
	"time"
)

// figures are what was measured in one round.
type figures struct {
	CallsPerSecond float64
	// P50 and P99 are latencies in microseconds.
	P50, P99 float64
	// Longest is the latency of the slowest call, likewise.
	Longest float64
	// CPU is the processor time that the server took for a call, in microseconds.
	CPU float64
	// Allocations and AllocatedBytes are the server's for a call.
	Allocations, AllocatedBytes float64
	// Degraded says that Redis counted as out of reach when the round was over.
	Degraded bool
	// Written and Dropped are the audit records for a call.
	Written, Dropped float64
}

// newFigures are those of a round. The latencies are sorted; there is at least one.
func newFigures(latencies []time.Duration, took time.Duration, before, after usage) figures {
	calls := float64(len(latencies))
	return figures{
		CallsPerSecond: calls / took.Seconds(),
		P50:            microseconds(latencies[len(latencies)/2]),
		P99:            microseconds(latencies[len(latencies)*99/100]),
		Longest:        microseconds(latencies[len(latencies)-1]),
		CPU:            (after.cpuSeconds - before.cpuSeconds) * 1e6 / calls,
		Allocations:    (after.allocations - before.allocations) / calls,
		AllocatedBytes: (after.allocatedBytes - before.allocatedBytes) / calls,
		Degraded:       after.degraded == 1,
		Written:        (after.written - before.written) / calls,
		Dropped:        (after.dropped - before.dropped) / calls,
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// spread is where several values lie.
type spread struct {
	least, lower, median, upper, most float64 // lower and upper are quartiles
}

// spreadOf returns where the values lie that are taken of each round.
func spreadOf(rounds []round, of func(round) float64) spread {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	return newSpread(values)
}

// newSpread returns where values lie, of which there is at least one.
func newSpread(values []float64) spread {
	slices.Sort(values)
	last := len(values) - 1
	median := (values[last/2] + values[(last+1)/2]) / 2
	return spread{least: values[0], lower: values[last/4], median: median, upper: values[last-last/4], most: values[last]}
}
