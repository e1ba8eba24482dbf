package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/token"
)

// errAnswer says that a script answered in another form than it does.
var errAnswer = errors.New("a script's answer has an unknown form")

// found is what was known of a token when somebody looked.
type found struct {
	record cache.Record
	// seen is what lay in the first place, readable or not; empty: nothing.
	seen string
	when moment
}

// moment is a time by two clocks. Redis' was read before the replica's.
type moment struct {
	redis int64 // in milliseconds
	here  time.Time
}

// then returns what Redis' clock shows at the replica's time now, or a little less.
func (m moment) then(now time.Time) int64 { return m.redis + now.Sub(m.here).Milliseconds() }

// look reads the places of a token, and returns the newest of what they have. A token
// that only a former fleet key leads to is copied to the first place.
func (s *Store) look(ctx context.Context, places []place) (found, error) {
	all, err := s.lookAt(ctx, places[0])
	if err != nil {
		return found{}, err
	}
	for _, former := range places[1:] {
		there, err := s.lookAt(ctx, former)
		if err != nil {
			return found{}, err
		}
		if newer(there.record.Token, all.record.Token) {
			all.record.Token = there.record.Token
			s.copyTo(ctx, places[0], all, there.record.Token)
		}
		if later(there.record.Failure, all.record.Failure) {
			all.record.Failure = there.record.Failure
		}
	}
	return all, nil
}

// newer reports whether a was requested after b; nil was never.
func newer(a, b *token.Token) bool {
	return a != nil && (b == nil || !a.Value.Equal(b.Value) && a.RequestedAt.After(b.RequestedAt))
}

// later reports whether a keeps requests from being made for longer than b.
func later(a, b *cache.Failure) bool {
	return a != nil && (b == nil || a.Until.After(b.Until))
}

// lookAt reads one place.
func (s *Store) lookAt(ctx context.Context, at place) (found, error) {
	readAt := s.clock.Now() // before the question: what is left counts from the answer
	var answer []any
	err := s.do(ctx, "look", func(ctx context.Context) (err error) {
		answer, err = lookScript.Run(ctx, s.client, []string{at.token, at.failure, at.lock}, maxEntry).Slice()
		return err
	})
	if err != nil {
		return found{}, err
	}
	if len(answer) != 5 {
		return found{}, errAnswer
	}
	var here found
	here.record.Token, here.seen = s.readToken(at, answer[0], answer[1], readAt)
	here.record.Failure = s.readFailure(at, answer[2], answer[3], readAt)
	redis, _ := answer[4].(int64)
	here.when = moment{redis: redis, here: s.clock.Now()}
	return here, nil
}

// readToken returns the token in a script's answer, and its sealed form. What cannot be
// read is no token.
func (s *Store) readToken(at place, sealed, left any, readAt time.Time) (t *token.Token, seen string) {
	seen, ok := sealed.(string)
	if !ok {
		return nil, ""
	}
	t, err := s.openToken(at, []byte(seen), readAt, milliseconds(left))
	switch {
	case errors.Is(err, errEnds):
		return nil, seen
	case err != nil:
		s.observer.Unreadable(unreadable(err))
		return nil, seen
	}
	t.RequestedWithin = s.clock.Since(readAt)
	return t, seen
}

// readFailure returns the failure in a script's answer, likewise.
func (s *Store) readFailure(at place, sealed, left any, readAt time.Time) *cache.Failure {
	text, ok := sealed.(string)
	if !ok {
		return nil
	}
	failure, err := s.openFailure(at, []byte(text), readAt, milliseconds(left))
	switch {
	case errors.Is(err, errEnds):
		return nil
	case err != nil:
		s.observer.Unreadable(unreadable(err))
		return nil
	}
	return failure
}

func milliseconds(count any) time.Duration {
	n, _ := count.(int64)
	return time.Duration(n) * time.Millisecond
}

// unreadable is in a word why an entry cannot be read.
func unreadable(err error) string {
	switch {
	case errors.Is(err, fleetkeys.ErrUnknownFormat), errors.Is(err, errUnknownReason):
		return "format"
	case errors.Is(err, fleetkeys.ErrUnknownKey):
		return "key"
	case errors.Is(err, errNoEnd):
		return "no_end"
	default:
		return "damaged"
	}
}
