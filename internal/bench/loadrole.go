package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// callPatience is how much longer than a round its last calls may take.
const callPatience = 10 * time.Second

// result is the load's answer.
type result struct {
	// ResponseSize is that of a response on the wire, in bytes.
	ResponseSize int
	Pairs        []pair
}

// pair is what was measured in two rounds, one after the other.
type pair struct {
	First, Second figures
}

// load calls both sides in turn, and measures.
func load(ctx context.Context, told task, answer func(any) error) (err error) {
	one, err := newTarget(told.First, told.Credential)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, one.close()) }()
	other, err := newTarget(told.Second, told.Credential)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.close()) }()

	var measured result
	for i := range told.Rounds + 1 {
		measured.ResponseSize, err = compareSizes(ctx, one, other)
		if err != nil {
			return err
		}
		next, err := measurePair(ctx, one, other, told, i%2 == 1)
		if err != nil {
			return err
		}
		if i > 0 { // the first one warms up
			measured.Pairs = append(measured.Pairs, next)
		}
	}
	return answer(measured)
}

// measurePair measures both sides. Which one comes first changes from pair to pair,
// so that a machine that becomes slower or faster favours neither.
func measurePair(ctx context.Context, one, other *target, told task, swapped bool) (measured pair, err error) {
	if swapped {
		one, other = other, one
	}
	if measured.First, err = one.measure(ctx, told.Callers, told.RoundDuration); err != nil {
		return pair{}, err
	}
	if measured.Second, err = other.measure(ctx, told.Callers, told.RoundDuration); err != nil {
		return pair{}, err
	}
	if swapped {
		measured.First, measured.Second = measured.Second, measured.First
	}
	return measured, nil
}

// measure makes calls for a round. Redis is stopped from its beginning to its end where
// that is asked for, and is back when measure returns.
func (t *target) measure(ctx context.Context, callers int, duration time.Duration) (measured figures, err error) {
	before, err := readUsage(ctx, t.http, t.metrics)
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
	after, err := readUsage(ctx, t.http, t.metrics)
	if err != nil {
		return figures{}, err
	}
	return newFigures(latencies, took, before, after), nil
}

// drive lets that many callers make one call after the other. It returns how long each
// call took, in order of length, and how long all took together.
func (t *target) drive(ctx context.Context, callers int, duration time.Duration) (latencies []time.Duration, took time.Duration, err error) {
	// A timer, and no deadline: that would be sent with each call.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer time.AfterFunc(duration+callPatience, stop).Stop()
	group, ctx := errgroup.WithContext(ctx)
	ofCaller := make([][]time.Duration, callers)
	begin := time.Now()
	for i := range callers {
		group.Go(func() (err error) {
			ofCaller[i], err = t.callUntil(ctx, begin.Add(duration))
			return err
		})
	}
	err = group.Wait()
	took = time.Since(begin)
	latencies = slices.Concat(ofCaller...)
	slices.Sort(latencies)
	return latencies, took, err
}

// callUntil makes one call after the other, and at least one.
func (t *target) callUntil(ctx context.Context, end time.Time) ([]time.Duration, error) {
	var latencies []time.Duration
	for before := time.Now(); ; {
		if _, err := t.client.GetAuthDecoration(ctx, t.request); err != nil {
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
