package redisstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/cache"
)

// These constants configure the stream of events, in which replicas publish their changes.
const (
	streamKey  = prefix + "changes"
	probeKey   = prefix + "probe"
	streamSize = 10_000 // approximate number of events in the stream
	batchSize  = 1_000  // maximum number of events in one read, and of keys that one command removes
	// blockTime is how long one read of the stream waits for events. Follow notices the failure of
	// another operation after blockTime at the latest.
	blockTime = 500 * time.Millisecond
	// probePause is how long Follow waits after a failure before its next attempt.
	probePause = 100 * time.Millisecond
	probeLife  = time.Minute
	streamLife = 24 * time.Hour // the stream expires this long after its last event
)

// These are the kinds of events.
const (
	eventToken     = "token"     // the token in a key set has changed
	eventForgotten = "forgotten" // failures were removed
	eventEmptied   = "emptied"   // all earlier events were removed, even those that some replicas had not read
)

// An event is a change that one replica publishes to the others.
type event struct {
	kind string
	name string // the name of a key set; empty unless kind is eventToken
}

// publish sends an event to the other replicas, or leaves it to Follow to do so later.
func (s *Store) publish(ctx context.Context, e event) error {
	err := s.do(ctx, "publish", func(ctx context.Context) error { return s.addEvent(ctx, e, "~", streamSize) })
	if err != nil {
		s.outbox.Store(e, nil)
	}
	return err
}

// addEvent adds an event to the stream, and removes the oldest ones. The number of events to keep
// is exact if the parameter `trim` is "=", and approximate if it is "~".
func (s *Store) addEvent(ctx context.Context, e event, trim string, keep int) error {
	life := streamLife.Milliseconds()
	return publishScript.Run(ctx, s.client, []string{streamKey}, trim, keep, life, e.kind, e.name, s.id).Err()
}

// publishOutbox publishes the events that could not be published when they happened.
func (s *Store) publishOutbox(ctx context.Context) {
	var unsent []event
	s.outbox.Range(func(e, _ any) bool {
		s.outbox.Delete(e)
		unsent = append(unsent, e.(event))
		return true
	})
	for _, e := range unsent {
		if e.kind == eventForgotten {
			_ = s.removeFailures(ctx) // ForgetFailures may have failed to remove all failures
		}
		_ = s.publish(ctx, e)
	}
}

// Follow reads the stream until ctx ends. After a failure, Follow looks for its position in the
// stream again and again, so that it also notices when Redis can be reached.
func (s *Store) Follow(ctx context.Context, news cache.News) {
	for position, lost := "", true; ctx.Err() == nil; {
		if s.overloaded.Load() && s.operations.hasSlots() && s.locking.hasSlots() {
			s.overloaded.Store(false)
			s.needsResync.Store(true) // operations failed because of the overload, so the Cache may have missed changes
		}
		if s.needsResync.Swap(false) || lost {
			found, err := s.findPosition(ctx, position)
			if err != nil {
				lost = true
				s.pause(ctx)
				continue
			}
			position, lost = found, false
			s.tokens.wakeAll()
			news.Missed()
		}
		s.publishOutbox(ctx)
		events, err := s.read(ctx, position)
		if err != nil {
			s.pause(ctx)
			continue
		}
		for _, e := range events {
			position = e.ID
			s.receive(ctx, e, news)
		}
		if len(events) == batchSize {
			position, lost = "", true // there may have been more new events than the stream keeps
		}
	}
}

// findPosition returns the position from which Follow continues to read the stream, and checks that
// Redis runs scripts that write. A server that does not run such scripts, for example a read-only
// replica, cannot be used.
func (s *Store) findPosition(ctx context.Context, before string) (position string, err error) {
	err = s.do(ctx, "probe", func(ctx context.Context) error {
		if err := probeScript.Run(ctx, s.client, []string{probeKey}, probeLife.Milliseconds()).Err(); err != nil {
			return err
		}
		position, err = s.positionAfter(ctx, before)
		switch {
		case isWrongType(err):
			position, err = "0-0", s.client.Del(ctx, streamKey).Err() // not a stream, so no broker wrote this value
		case errors.Is(err, errReplyLimit):
			if err = s.emptyStream(ctx); err == nil {
				position, err = s.positionAfter(ctx, before)
			}
		}
		return err
	})
	return position, err
}

// positionAfter returns the given position if the stream has an event there or later, or else the
// position of the last event. The later events are not skipped, because one of them may be too
// large, and only a read of the stream notices and removes it.
func (s *Store) positionAfter(ctx context.Context, before string) (string, error) {
	for _, from := range slices.Compact([]string{cmp.Or(before, "-"), "-"}) {
		last, err := s.client.XRevRangeN(ctx, streamKey, "+", from, 1).Result()
		switch {
		case err != nil:
			return "", err
		case len(last) > 0 && from == before:
			return before, nil
		case len(last) > 0:
			return last[0].ID, nil
		}
	}
	return "0-0", nil
}

// read waits for events after a position. When none arrives in time, read returns no events and no
// error.
func (s *Store) read(ctx context.Context, position string) (events []redis.XMessage, err error) {
	budget := &timeBudget{limit: blockTime + backgroundTimeout}
	err = s.doWithin(budget.of(ctx), "read", func(ctx context.Context) error {
		streams, err := s.client.XRead(ctx, &redis.XReadArgs{
			Streams: []string{streamKey, position}, Count: batchSize, Block: blockTime,
		}).Result()
		for _, stream := range streams {
			events = stream.Messages
		}
		if err == redis.Nil { //nolint:errorlint // a wrapped redis.Nil means that the Sentinels do not know the master
			return nil
		}
		return err
	})
	switch {
	case errors.Is(err, errReplyLimit):
		s.needsResync.Store(true)
		return nil, s.do(ctx, "publish", s.emptyStream)
	case isWrongType(err):
		s.needsResync.Store(true) // findPosition removes the Redis key with the wrong type
	}
	return events, err
}

// emptyStream removes all events from the stream, because one event, which no broker wrote, is too
// large to read. After removing the events, emptyStream adds an event that tells the other replicas
// that they may have missed events.
func (s *Store) emptyStream(ctx context.Context) error {
	return s.addEvent(ctx, event{kind: eventEmptied}, "=", 1)
}

// receive handles an event, unless this replica published it.
func (s *Store) receive(ctx context.Context, message redis.XMessage, news cache.News) {
	text := func(field string) string { value, _ := message.Values[field].(string); return value }
	if text("by") == s.id {
		return
	}
	switch text("kind") {
	case eventToken:
		if key, ok := s.tokens.wake(text("name")); ok {
			news.Changed(key)
		}
	case eventForgotten:
		_ = s.removeFailures(ctx)
		news.Forgotten()
	case eventEmptied:
		s.needsResync.Store(true)
	}
}

func (s *Store) pause(ctx context.Context) {
	select {
	case <-s.clock.After(probePause):
	case <-ctx.Done():
	}
}
