package redisstore

import (
	"context"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/token"
)

// commitment is a token that is to be stored.
type commitment struct {
	owner   string // of the lock; empty: nobody may have it
	found   *found // when the owner looked; commit updates what it has seen
	fresh   *token.Token
	sealed  []byte // fresh
	refused string // the fingerprint of a token that is not to come back; empty: none
}

// commit runs the script that stores a token, and returns the one that stands.
func (s *Store) commit(ctx context.Context, at place, c commitment) (*token.Token, error) {
	readAt := s.clock.Now()
	life := c.fresh.LastEnd().Sub(readAt)
	if life < time.Millisecond {
		return c.fresh, nil // it ended meanwhile: there is nothing to share
	}
	arguments := []any{
		c.owner, c.found.seen, c.sealed, life.Milliseconds(), c.found.when.then(readAt), c.refused,
		maxRejected, maxForced, token.MaxLifetime.Milliseconds(), forcedLife.Milliseconds(), maxEntry,
	}
	for _, fingerprint := range s.keys.Fingerprints(c.fresh.Value.Reveal()) {
		arguments = append(arguments, fingerprint)
	}
	var answer []any
	err := s.do(ctx, "commit", func(ctx context.Context) (err error) {
		answer, err = commitScript.Run(ctx, s.client, []string{at.token, at.failure, at.lock, at.rejected, at.forced}, arguments...).Slice()
		return err
	})
	if err != nil {
		s.untold.add(event{kind: eventToken, name: at.name}) // it may have been stored
		return nil, err
	}
	switch {
	case len(answer) == 1 && answer[0] == "STORED":
		c.found.seen = string(c.sealed)
		_ = s.publish(ctx, event{kind: eventToken, name: at.name})
		return c.fresh, nil
	case len(answer) == 1 && answer[0] == "LATE":
		return c.fresh, nil
	case len(answer) == 1 && answer[0] == "LOST":
		return nil, cache.ErrLeaseLost
	case len(answer) == 3 && answer[0] == "REJECTED":
		if standing, seen := s.readToken(at, answer[1], answer[2], readAt); seen != c.found.seen {
			return standing, nil
		}
		return c.found.record.Token, nil
	case len(answer) == 3 && answer[0] == "CHANGED":
		standing, seen := s.readToken(at, answer[1], answer[2], readAt)
		switch before := c.found.record.Token; {
		case standing == nil:
			return nil, cache.ErrLeaseLost
		case standing.Value.Equal(c.fresh.Value):
			// An earlier attempt stored it, and its reply was lost: nobody was told.
			c.found.seen = seen
			_ = s.publish(ctx, event{kind: eventToken, name: at.name})
			return c.fresh, nil
		case before != nil && standing.Value.Equal(before.Value):
			c.found.seen = seen // Redis lost it, and another replica has put it back
			return s.commit(ctx, at, c)
		default:
			return standing, nil
		}
	default:
		return nil, errAnswer
	}
}

// copyTo stores a token that was found elsewhere. It does without when somebody holds the
// lock: that one stores a token itself.
func (s *Store) copyTo(ctx context.Context, at place, here found, t *token.Token) {
	_, _ = s.commit(ctx, at, commitment{found: &here, fresh: t, sealed: s.sealToken(at, t)})
}
