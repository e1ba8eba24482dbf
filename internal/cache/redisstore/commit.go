package redisstore

import (
	"context"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/token"
)

// These constants limit what Redis keeps for a token key in addition to the token and the failure.
const (
	maxRejected = 8   // fingerprints of rejected tokens
	maxForced   = 100 // times of forced renewals
	forcedLife  = time.Hour
)

// Commit stores the token, and publishes the change.
func (l *lease) Commit(ctx context.Context, fresh *token.Token, rejected bool) (*token.Token, error) {
	return l.store.commit(l.budget.of(ctx), l.keys.primary, &l.found, l.owner, fresh, rejected)
}

// commit stores a token in a key set, unless another replica has the lock or has stored a token
// since the replica read `here`. The result is the token that is in Redis afterwards; if Redis has
// a new entry, commit puts it into here.sealed.
func (s *Store) commit(
	ctx context.Context, set keySet, here *found, owner string, fresh *token.Token, rejected bool,
) (*token.Token, error) {
	now := s.clock.Now()
	if fresh.LastEnd().Sub(now) < time.Millisecond {
		return fresh, nil // the token has ended, so it is not stored
	}
	sealed := string(s.sealToken(set, fresh))
	change := event{kind: eventToken, name: set.name}
	answer, err := s.runCommit(ctx, set, *here, owner, fresh, sealed, rejected)
	if err != nil {
		s.outbox.Store(change, nil) // the token may have been stored
		return nil, err
	}
	before := here.record.Token
	switch answer[0] {
	case "STORED":
		here.sealed = sealed
		_ = s.publish(ctx, change)
		return fresh, nil
	case "LATE":
		return fresh, nil
	case "LOST":
		return nil, cache.ErrLeaseLost
	case "REJECTED", "CHANGED":
	default:
		return nil, errReply
	}
	stored, sealed := s.readToken(set, answer[1], answer[2], now)
	switch {
	case sealed == here.sealed:
		return before, nil // the token `fresh` was rejected before; the stored entry has not changed
	case answer[0] == "REJECTED":
		return stored, nil
	case stored == nil:
		return nil, cache.ErrLeaseLost
	case stored.Value.Equal(fresh.Value):
		here.sealed = sealed // an earlier attempt stored the token `fresh`, and the reply was lost
		_ = s.publish(ctx, change)
		return fresh, nil
	case before != nil && stored.Value.Equal(before.Value):
		here.sealed = sealed // Redis lost the token, and another replica has put it back
		return s.commit(ctx, set, here, owner, fresh, rejected)
	}
	stored.RequestedWithin = s.clock.Since(now)
	return stored, nil
}

// runCommit runs the script that stores a token, and returns the script's reply. The parameter
// `sealed` is the encrypted token.
func (s *Store) runCommit(
	ctx context.Context, set keySet, here found, owner string, fresh *token.Token, sealed string, rejected bool,
) ([]any, error) {
	now, former := s.clock.Now(), "" // the fingerprint of the rejected token that was found in Redis
	if rejected && here.record.Token != nil {
		former = s.keys.Fingerprints(here.record.Token.Value.Reveal())[0]
	}
	redisNow := here.redisTime + now.Sub(here.readAt).Milliseconds() // the time of Redis' clock, or slightly earlier
	arguments := []any{
		owner, here.sealed, sealed, fresh.LastEnd().Sub(now).Milliseconds(), redisNow, former,
		maxRejected, maxForced, token.MaxLifetime.Milliseconds(), forcedLife.Milliseconds(), maxEntry,
	}
	for _, fingerprint := range s.keys.Fingerprints(fresh.Value.Reveal()) {
		arguments = append(arguments, fingerprint)
	}
	keys := []string{set.token, set.failure, set.lock, set.rejected, set.forced}
	reply, err := s.run(ctx, "commit", commitScript, keys, arguments...)
	if err != nil {
		return nil, err
	}
	answer, err := reply.Slice()
	if err != nil || len(answer) != 3 {
		return nil, errReply
	}
	return answer, nil
}
