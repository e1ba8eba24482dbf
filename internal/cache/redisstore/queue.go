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
	// operationsPerCPU is how many operations there are at once for each processor.
	operationsPerCPU = 10
	// maxQueueWait is how long an operation waits in a queue, before its own time begins.
	maxQueueWait = 3 * time.Second
	// maxQueueWaits is how many times it waits for so long while the process gets no CPU time.
	maxQueueWaits = 2
)

// maxOperations is how many operations there are at once.
func maxOperations() int { return operationsPerCPU * runtime.GOMAXPROCS(0) }

// errOverload is returned for an operation that was not tried, because it waited too long in a queue.
var errOverload = errors.New("too many operations at once")

// queue lets a limited number in at once, in the order in which they came.
type queue struct {
	clock   clockwork.Clock
	slots   *semaphore.Weighted
	measure func(run func()) (starved bool)
}

func newQueue(clock clockwork.Clock, slots int) *queue {
	measure := func(run func()) bool { return new(timeBudget).measure(run) }
	return &queue{clock: clock, slots: semaphore.NewWeighted(int64(slots)), measure: measure}
}

// enter waits for a slot, until leave is called. It fails with errOverload when there is none in time,
// and with errGaveUp when ctx ends first.
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

// acquire waits for maxQueueWait. It also reports whether the process got no CPU time for most of
// that: then it could not take a slot that was free.
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

// hasSlots reports whether there are free slots.
func (q *queue) hasSlots() bool {
	if !q.slots.TryAcquire(1) {
		return false
	}
	q.slots.Release(1)
	return true
}
