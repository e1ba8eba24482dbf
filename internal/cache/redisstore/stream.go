package redisstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/cache"
)

// The stream on which replicas tell each other what they changed.
const (
	streamKey  = prefix + "changes"
	probeKey   = prefix + "probe"
	streamSize = 10_000 // events, about
	batchSize  = 1_000  // events that are read at once, or keys that are removed
	// blockTime is how long a read waits for events: the longest that trouble stays
	// unnoticed which another operation had.
	blockTime = 500 * time.Millisecond
	// probePause is how long to wait after trouble before the next try.
	probePause = 100 * time.Millisecond
	probeLife  = time.Minute
	streamLife = 24 * time.Hour // after the last event
)

// Kinds of events.
const (
	eventToken     = "token"     // there is another token at a name
	eventForgotten = "forgotten" // failures were removed
	eventEmptied   = "emptied"   // the events before it were removed, read or not
)

// event is what one replica tells the others.
type event struct {
	kind string
	name string // of a place, for eventToken
}

// publish tells the other replicas of an event. Where that fails, Follow does it later.
func (s *Store) publish(ctx context.Context, e event) error {
	err := s.do(ctx, "publish", func(ctx context.Context) error {
		return s.addEvent(ctx, e, "~", streamSize)
	})
	if err != nil {
		s.untold.add(e)
	}
	return err
}

// addEvent adds an event to the stream, and has it keep so many: exactly ("=") or about ("~").
func (s *Store) addEvent(ctx context.Context, e event, trim string, keep int) error {
	return publishScript.Run(ctx, s.client, []string{streamKey}, trim, keep, streamLife.Milliseconds(), e.kind, e.name, s.id).Err()
}

// publishUntold tells of the events that could not be told of when they happened.
func (s *Store) publishUntold(ctx context.Context) {
	for _, e := range s.untold.take() {
		if e.kind == eventForgotten {
			_ = s.removeFailures(ctx) // those that lay there all the time
		}
		_ = s.publish(ctx, e)
	}
}

// Follow reads the stream until ctx ends, and finds its place again after trouble. It is
// also what notices that Redis is back: it tries again and again.
func (s *Store) Follow(ctx context.Context, news cache.News) {
	if !s.beginToFollow() {
		return
	}
	defer s.following.Done()
	for position, lost := "", true; ctx.Err() == nil; {
		if s.queues.settled() {
			s.troubled.Store(true) // what had no turn was done without Redis
		}
		if s.troubled.Swap(false) || lost {
			place, err := s.findPlace(ctx, position)
			if err != nil {
				lost = true
				s.pause(ctx)
				continue
			}
			position, lost = place, false
			s.waiters.wakeAll()
			news.Missed()
		}
		s.publishUntold(ctx)
		events, err := s.read(ctx, position)
		if err != nil {
			s.pause(ctx)
			continue
		}
		if len(events) == batchSize {
			position, lost = "", true // there may be more than the stream holds
		}
		for _, e := range events {
			if len(events) < batchSize {
				position = e.ID
			}
			s.tell(ctx, e, news)
		}
	}
}

// findPlace returns the place from which to read on: the position, or the place after the last
// event if that comes before, or if the position is empty. It also checks that Redis runs
// scripts that write: one that does not, such as a replica, is of no use.
func (s *Store) findPlace(ctx context.Context, position string) (place string, err error) {
	err = s.do(ctx, "probe", func(ctx context.Context) error {
		if err := probeScript.Run(ctx, s.client, []string{probeKey}, probeLife.Milliseconds()).Err(); err != nil {
			return err
		}
		last, err := s.client.XRevRangeN(ctx, streamKey, "+", "-", 1).Result()
		switch {
		case isWrongType(err):
			err = s.client.Del(ctx, streamKey).Err() // somebody else wrote it
		case errors.Is(err, errReplyLimit):
			if err = s.emptyStream(ctx); err == nil {
				last, err = s.client.XRevRangeN(ctx, streamKey, "+", "-", 1).Result()
			}
		}
		place = "0-0"
		if len(last) > 0 {
			place = last[0].ID
		}
		if position != "" && isBefore(position, place) {
			place = position // what is between them may be an event that nobody can read
		}
		return err
	})
	return place, err
}

// isBefore reports whether one ID of the stream comes before another. An ID is two numbers with a
// hyphen between them.
func isBefore(one, other string) bool {
	compare := func(a, b string) int {
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	}
	time, number, _ := strings.Cut(one, "-")
	otherTime, otherNumber, _ := strings.Cut(other, "-")
	return cmp.Or(compare(time, otherTime), compare(number, otherNumber)) < 0
}

// read waits for events after a position; none come in time: no error.
func (s *Store) read(ctx context.Context, position string) (events []redis.XMessage, err error) {
	err = s.doWithin(ctx, "read", &patience{limit: blockTime + backgroundTimeout}, func(ctx context.Context) error {
		streams, err := s.client.XRead(ctx, &redis.XReadArgs{
			Streams: []string{streamKey, position}, Count: batchSize, Block: blockTime,
		}).Result()
		for _, stream := range streams {
			events = stream.Messages
		}
		if err == redis.Nil { //nolint:errorlint // wrapped, it is of Sentinels that know no such master
			return nil
		}
		return err
	})
	switch {
	case errors.Is(err, errReplyLimit):
		s.troubled.Store(true)
		return nil, s.do(ctx, "publish", s.emptyStream)
	case isWrongType(err):
		s.troubled.Store(true) // findPlace removes it
		s.pause(ctx)
		return nil, nil
	default:
		return events, err
	}
}

// emptyStream removes all events, because somebody else wrote one that is too large to read.
// The event that it adds tells other replicas that they may have missed some.
func (s *Store) emptyStream(ctx context.Context) error {
	return s.addEvent(ctx, event{kind: eventEmptied}, "=", 1)
}

// tell passes an event on, unless it is this replica's own.
func (s *Store) tell(ctx context.Context, message redis.XMessage, news cache.News) {
	text := func(field string) string { value, _ := message.Values[field].(string); return value }
	if text("by") == s.id {
		return
	}
	switch text("kind") {
	case eventToken:
		if key, ok := s.places.key(text("name")); ok {
			s.waiters.wake(key)
			news.Changed(key)
		}
	case eventForgotten:
		_ = s.removeFailures(ctx)
		news.Forgotten()
	case eventEmptied:
		s.troubled.Store(true)
	}
}

func (s *Store) pause(ctx context.Context) {
	select {
	case <-s.clock.After(probePause):
	case <-ctx.Done():
	}
}

// events are events to tell of, each once. The zero value is ready.
type events struct {
	mu  sync.Mutex
	all map[event]bool
}

func (e *events) add(another event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = map[event]bool{}
	}
	e.all[another] = true
}

// take returns the events, and forgets them.
func (e *events) take() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := slices.Collect(maps.Keys(e.all))
	e.all = nil
	return taken
}

func randomID() string { return rand.Text() }
