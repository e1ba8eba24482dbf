package main

import (
	"slices"
	"time"
)

// figures are the measurements of one round.
type figures struct {
	CallsPerSecond float64
	// P50 and P99 are percentiles of the latencies of all calls, in microseconds.
	P50, P99 float64
	// Longest is the highest latency, in microseconds.
	Longest float64
	// CPU is the server's CPU time per call, in microseconds.
	CPU float64
	// Allocations and AllocatedBytes are the number and size of the server's memory allocations per
	// call.
	Allocations, AllocatedBytes float64
	// Degraded is true if the broker considered Redis unreachable at the end of the round.
	Degraded bool
	// Written and Dropped are the numbers of audit records per call.
	Written, Dropped float64
}

// newFigures returns the figures of a round. The latencies must be sorted, and there must be at
// least one latency.
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

// spread is the distribution of several values.
type spread struct {
	least, lower, median, upper, most float64 // `lower` and `upper` are quartiles
}

// spreadOf returns the distribution, over all rounds, of one number of a round.
func spreadOf(rounds []round, of func(round) float64) spread {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	return newSpread(values)
}

// newSpread returns the distribution of at least one value.
func newSpread(values []float64) spread {
	slices.Sort(values)
	last := len(values) - 1
	median := (values[last/2] + values[(last+1)/2]) / 2
	return spread{least: values[0], lower: values[last/4], median: median, upper: values[last-last/4], most: values[last]}
}
