package redisstore

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/semaphore"
)

const (
	// operationsPerCPU is the maximum number of operations that run at once, for each processor.
	operationsPerCPU = 10
	// maxQueueWait is the longest time that an operation waits in a queue, before its own timeout
	// begins.
	maxQueueWait = 3 * time.Second
	// If the process got no CPU time while an operation waited in a queue, the operation waits
	// again, at most maxQueueWaits times in all.
	maxQueueWaits = 2
)

func maxOperations() int { return operationsPerCPU * runtime.GOMAXPROCS(0) }

// errOverload is returned for an operation that was not tried because it waited too long in a
// queue.
var errOverload = errors.New("too many operations at once")

// A queue gives a limited number of slots to operations, in the order of their arrival.
type queue struct {
	clock   clockwork.Clock
	slots   *semaphore.Weighted
	measure func(run func()) (starved bool)
}

func newQueue(clock clockwork.Clock, slots int) *queue {
	measure := func(run func()) bool { return new(timeBudget).measure(run) }
	return &queue{clock: clock, slots: semaphore.NewWeighted(int64(slots)), measure: measure}
}

// enter waits for a slot, which the caller keeps until it calls the returned function. If no slot
// becomes free in time, enter fails with errOverload, or with errGaveUp if ctx ends first.
func (q *queue) enter(ctx context.Context) (leave func(), err error) {
	for range maxQueueWaits {
		acquired, starved := q.acquire(ctx)
		switch {
		case acquired:
			return func() { q.slots.Release(1) }, nil
		case ctx.Err() != nil:
			return nil, errGaveUp
		case !starved:
			return nil, errOverload
		}
	}
	return nil, errOverload
}

// acquire waits for a slot, at most maxQueueWait. The result `starved` reports that the process got
// no CPU time during most of the wait, so that it could not take a free slot.
func (q *queue) acquire(ctx context.Context) (acquired, starved bool) {
	if q.slots.TryAcquire(1) {
		return true, false
	}
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	defer q.clock.AfterFunc(maxQueueWait, cancel).Stop()
	starved = q.measure(func() { acquired = q.slots.Acquire(limited, 1) == nil })
	return acquired, starved
}

func (q *queue) hasSlots() bool {
	if !q.slots.TryAcquire(1) {
		return false
	}
	q.slots.Release(1)
	return true
}
