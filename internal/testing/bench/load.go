package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// callPatience limits how long the last calls of a round may continue after its end.
const callPatience = 10 * time.Second

// result is what the load generator sends to its parent process.
type result struct {
	// ResponseSize is the size of a response on the wire, in bytes.
	ResponseSize int
	Rounds       []round
}

// A round contains the figures of each server. The servers are measured one after another.
type round []figures

// `load` is the load generator. It measures calls to all servers in turn. Each round begins with a
// different server, so a machine that becomes slower or faster favours no server.
func load(ctx context.Context, told task, answer func(any) error) (err error) {
	var targets []*target
	for _, s := range told.Sides {
		t, err := newTarget(s, told)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.close()) }()
		targets = append(targets, t)
	}
	var measured result
	for i := range told.Rounds + 1 {
		measured.ResponseSize, err = compareSizes(ctx, targets)
		if err != nil {
			return err
		}
		next := make(round, len(targets))
		for j := range targets {
			side := (i + j) % len(targets)
			if next[side], err = targets[side].measure(ctx, told.Callers, told.RoundDuration); err != nil {
				return err
			}
		}
		if i > 0 { // the first round only warms up the servers
			measured.Rounds = append(measured.Rounds, next)
		}
	}
	return answer(measured)
}

// measure calls the server for one round. A Redis process in the field `stopped` is suspended
// during the round, and available again when measure returns.
func (t *target) measure(ctx context.Context, callers int, duration time.Duration) (measured figures, err error) {
	before, err := t.usage(ctx)
	if err != nil {
		return figures{}, err
	}
	if t.stopped != 0 {
		if err := stopProcess(t.stopped); err != nil {
			return figures{}, err
		}
		defer func() { err = errors.Join(err, t.bringRedisBack(ctx)) }()
	}
	latencies, took, err := t.drive(ctx, callers, duration)
	if err != nil {
		return figures{}, fmt.Errorf("call the server %q: %w", t.name, err)
	}
	used, unknown := cpuTime(t.process) // must come before t.usage, because reading the metrics takes CPU time too
	after, err := t.usage(ctx)
	if err != nil {
		return figures{}, err
	}
	if unknown == nil {
		after.cpuSeconds = used.Seconds()
	}
	return newFigures(latencies, took, before, after), nil
}

// drive lets callers make calls concurrently until the duration is over, and returns the sorted
// latencies of all calls, and the total time.
func (t *target) drive(ctx context.Context, callers int, duration time.Duration) (latencies []time.Duration, took time.Duration, err error) {
	// A timer ends the calls, because a deadline would be sent with each call and change what is
	// measured.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer time.AfterFunc(duration+callPatience, stop).Stop()
	group, ctx := errgroup.WithContext(ctx)
	ofCaller := make([][]time.Duration, callers)
	begin := time.Now()
	for i := range callers {
		group.Go(func() (err error) {
			ofCaller[i], err = t.callUntil(ctx, i, begin.Add(duration))
			return err
		})
	}
	err = group.Wait()
	took = time.Since(begin)
	latencies = slices.Concat(ofCaller...)
	slices.Sort(latencies)
	return latencies, took, err
}

// callUntil makes at least one call, and further calls until the given time.
func (t *target) callUntil(ctx context.Context, caller int, end time.Time) ([]time.Duration, error) {
	var latencies []time.Duration
	client := t.clients[caller%len(t.clients)]
	random := rand.New(rand.NewPCG(uint64(caller), 0)) //nolint:gosec // these random numbers need not be secure
	for before := time.Now(); ; {
		if err := t.call(ctx, client, random.IntN(len(t.requests))); err != nil {
			return nil, err
		}
		after := time.Now()
		latencies = append(latencies, after.Sub(before))
		if !after.Before(end) {
			return latencies, nil
		}
		before = after
	}
}
