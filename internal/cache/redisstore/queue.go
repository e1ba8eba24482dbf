package redisstore

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/semaphore"
)

const (
	// atOncePerCPU is how many operations there are at once, for each processor.
	atOncePerCPU = 10
	// longestTurn is how long something waits for its turn, before its own time begins.
	longestTurn = 3 * time.Second
	// maxTurns is how many times it waits for so long, while the process gets no CPU time.
	maxTurns = 2
)

// atOnce is how many operations there are at once.
func atOnce() int { return atOncePerCPU * runtime.GOMAXPROCS(0) }

// errOverload says that something had no turn in time. It was not tried.
var errOverload = errors.New("too much at once")

// queue lets so many in at once, in the order in which they came.
type queue struct {
	clock    clockwork.Clock
	schedule *schedule
	turns    *semaphore.Weighted
	// overran says that something had no turn in time, since settled was true last.
	overran atomic.Bool
}

func newQueue(clock clockwork.Clock, schedule *schedule, atOnce int) *queue {
	return &queue{clock: clock, schedule: schedule, turns: semaphore.NewWeighted(int64(atOnce))}
}

// enter waits for a turn, which leave ends. It fails with errOverload when there is none in
// time, and with errGaveUp when ctx ends first.
func (q *queue) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { q.turns.Release(1) }
	if q.turns.TryAcquire(1) {
		return leave, nil
	}
	for range maxTurns {
		acquired, starved := q.acquire(ctx)
		if acquired {
			return leave, nil
		}
		if ctx.Err() != nil {
			return nil, errGaveUp
		}
		if !starved {
			break
		}
	}
	q.overran.Store(true)
	return nil, errOverload
}

// acquire waits for longestTurn. It also reports whether the process got no CPU time for most
// of that: then it could not notice that there was a turn.
func (q *queue) acquire(ctx context.Context) (acquired, starved bool) {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	defer q.clock.AfterFunc(longestTurn, cancel).Stop()
	watch := q.schedule.watch()
	acquired = q.turns.Acquire(limited, 1) == nil
	ran, took := watch.stop()
	return acquired, ran < took/2
}

// settled says once, after something had no turn in time, that there are turns again.
func (q *queue) settled() bool {
	if !q.overran.Load() || !q.turns.TryAcquire(1) {
		return false
	}
	q.turns.Release(1)
	return q.overran.Swap(false)
}

// queues are where work on Redis waits, so that its time limits measure Redis and not how
// much there is to do.
type queues struct {
	// operations are for a connection.
	operations *queue
	// locking is for looking and taking a lock, three operations. It lets in half as many:
	// what holds a lock and is about to free it has the other half at least.
	locking *queue
}

func newQueues(clock clockwork.Clock, schedule *schedule) queues {
	return queues{operations: newQueue(clock, schedule, atOnce()), locking: newQueue(clock, schedule, atOnce()/2)}
}

// settled says once, after work that had no turn was done without Redis, that there are
// turns again.
func (q queues) settled() bool {
	operations, locking := q.operations.settled(), q.locking.settled()
	return operations || locking
}
