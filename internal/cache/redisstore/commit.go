package redisstore

import (
	"context"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/token"
)

// commitment is a token that is to be stored.
type commitment struct {
	owner   string       // of the lock; empty: nobody may have it
	seen    string       // what lay there when the owner looked
	before  *token.Token // the token that was known then
	fresh   *token.Token
	refused string // the fingerprint of a token that is not to come back; empty: none
}

// commit runs the script that stores a token, and returns the one that stands.
func (s *Store) commit(ctx context.Context, at place, c commitment) (*token.Token, error) {
	readAt := s.clock.Now()
	life := c.fresh.End().Sub(readAt)
	if life < time.Millisecond {
		return c.fresh, nil // it ended meanwhile: there is nothing to share
	}
	arguments := []any{
		c.owner, c.seen, s.sealToken(at, c.fresh), life.Milliseconds(), c.refused,
		maxRejected, maxForced, token.MaxLifetime.Milliseconds(), forcedLife.Milliseconds(),
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
		return nil, err
	}
	switch {
	case len(answer) == 1 && answer[0] == "STORED":
		_ = s.publish(ctx, event{kind: eventToken, name: at.name})
		return c.fresh, nil
	case len(answer) == 1 && answer[0] == "LOST":
		return nil, cache.ErrLeaseLost
	case len(answer) == 3 && answer[0] == "REJECTED":
		return c.before, nil
	case len(answer) == 3 && answer[0] == "CHANGED":
		if standing, _ := s.readToken(at, answer[1], answer[2], readAt); standing != nil {
			return standing, nil
		}
		return nil, cache.ErrLeaseLost
	default:
		return nil, errAnswer
	}
}

// copyTo stores a token that was found elsewhere, and returns what lies there then. It
// does without when somebody holds the lock: that one stores a token itself.
func (s *Store) copyTo(ctx context.Context, at place, seen string, t *token.Token) string {
	life := t.End().Sub(s.clock.Now())
	if life < time.Millisecond {
		return seen
	}
	_, _ = s.commit(ctx, at, commitment{seen: seen, fresh: t})
	return seen
}
