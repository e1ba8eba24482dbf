package redisstore

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// failureMemory is how long a failure stays in Redis after it has ended, so that the next one in a
// row lasts longer.
const failureMemory = 30 * time.Minute

// unreadable is the reason, in one word, why an entry cannot be read.
type unreadable string

func (u unreadable) Error() string { return string(u) }

const (
	errFormat     = unreadable("format") // of another version of the broker
	errUnknownKey = unreadable("key")    // encrypted under a fleet key that this replica does not have
	errDamaged    = unreadable("damaged")
	// errNoEnd is of an entry that does not expire, or expires later than the token or the failure
	// in it. The broker writes no such entries.
	errNoEnd = unreadable("no_end")
)

// errExpires is returned for an entry that has less than a millisecond left.
var errExpires = errors.New("the entry expires just now")

// storedToken is the JSON of a token. Its LastEnd is not in it: that is when the Redis key expires.
// Versions of the broker without Delay take the expiry for the token's End.
type storedToken struct {
	Value        string        `json:"value"`
	Lifetime     time.Duration `json:"lifetime"`
	Delay        time.Duration `json:"delay,omitempty"`
	Assumed      bool          `json:"assumed,omitempty"`
	EndsPrevious bool          `json:"ends_previous,omitempty"`
	Window       time.Duration `json:"window,omitempty"`
}

// storedFailure is the JSON of a failure. Its Redis key expires after Life at the latest.
// RenewalWait is from its Until to its RenewalUntil.
type storedFailure struct {
	Reason      string        `json:"reason"`
	Message     string        `json:"message"`
	Life        time.Duration `json:"life"`
	Count       int           `json:"count"`
	Refusal     bool          `json:"refusal,omitempty"`
	RenewalWait time.Duration `json:"renewal_wait,omitempty"`
}

// storedReasons are the reasons that a stored failure may have. They are written in lower case.
var storedReasons = []fault.Reason{
	fault.Internal, fault.CredentialRejected, fault.ProviderUnavailable, fault.ProviderRateLimited, fault.RateLimited,
}

// sealToken encrypts a token for Redis.
func (s *Store) sealToken(set keySet, t *token.Token) []byte {
	return s.seal(set.token, storedToken{
		Value: t.Value.Reveal(), Lifetime: t.Lifetime, Delay: t.Delay, Assumed: t.Assumed,
		EndsPrevious: t.EndsPrevious, Window: t.Window,
	})
}

// openToken decrypts the token in an entry that was read at a time, and had so long left then.
func (s *Store) openToken(set keySet, sealed string, readAt time.Time, left time.Duration) (*token.Token, error) {
	var stored storedToken
	if err := s.open(set.token, sealed, left, &stored); err != nil {
		return nil, err
	}
	switch {
	case left > stored.Lifetime, stored.Lifetime > token.MaxLifetime:
		return nil, errNoEnd // it was changed, or Redis' clock was set back
	case stored.Value == "":
		return nil, errDamaged
	}
	delay := min(max(0, stored.Delay), token.MaxDelay)
	return &token.Token{
		Value:       secret.New(stored.Value),
		RequestedAt: readAt.Add(left - stored.Lifetime - delay), Delay: delay, Lifetime: stored.Lifetime,
		Assumed: stored.Assumed, EndsPrevious: stored.EndsPrevious, Window: stored.Window,
	}, nil
}

// sealFailure encrypts a failure for Redis. It also returns after how long the entry expires.
func (s *Store) sealFailure(set keySet, failure *cache.Failure, now time.Time) (sealed []byte, life time.Duration) {
	life = max(0, failure.Until.Sub(now)) + failureMemory
	return s.seal(set.failure, storedFailure{
		Reason: strings.ToLower(string(failure.Fault.Reason)), Message: failure.Fault.Message, Life: life,
		Count: failure.Count, Refusal: failure.Refusal, RenewalWait: failure.RenewalUntil.Sub(failure.Until),
	}), life
}

// openFailure decrypts the failure in an entry that was read at a time, and had so long left then.
func (s *Store) openFailure(set keySet, sealed string, readAt time.Time, left time.Duration) (*cache.Failure, error) {
	var stored storedFailure
	if err := s.open(set.failure, sealed, left, &stored); err != nil {
		return nil, err
	}
	reason := fault.Reason(strings.ToUpper(stored.Reason))
	switch {
	case left > stored.Life:
		return nil, errNoEnd
	case !slices.Contains(storedReasons, reason):
		return nil, errFormat
	}
	until := readAt.Add(left - failureMemory)
	return &cache.Failure{
		Fault: fault.New(reason, stored.Message),
		Until: until, RenewalUntil: until.Add(min(max(0, stored.RenewalWait), failureMemory)),
		Count: stored.Count, Refusal: stored.Refusal,
	}, nil
}

func (s *Store) seal(key string, stored any) []byte {
	plain, err := json.Marshal(stored)
	if err != nil {
		panic("redisstore: strings and numbers cannot be marshalled") // they always can
	}
	return s.keys.Seal(key, plain)
}

func (s *Store) open(key, sealed string, left time.Duration, stored any) error {
	switch {
	case left < 0:
		return errNoEnd
	case left == 0:
		return errExpires
	}
	plain, err := s.keys.Open(key, []byte(sealed))
	switch {
	case errors.Is(err, fleetkeys.ErrUnknownFormat):
		return errFormat
	case errors.Is(err, fleetkeys.ErrUnknownKey):
		return errUnknownKey
	case err != nil || json.Unmarshal(plain, stored) != nil:
		return errDamaged
	}
	return nil
}

// readToken returns the token in the reply of a script, and its encrypted form. An entry that cannot
// be read is no token.
func (s *Store) readToken(set keySet, entry, left any, readAt time.Time) (t *token.Token, sealed string) {
	sealed, ok := entry.(string)
	if !ok {
		return nil, ""
	}
	t, err := s.openToken(set, sealed, readAt, milliseconds(left))
	s.observeUnreadable(err)
	return t, sealed
}

// readFailure returns the failure in the reply of a script. An entry that cannot be read is none.
func (s *Store) readFailure(set keySet, entry, left any, readAt time.Time) *cache.Failure {
	sealed, ok := entry.(string)
	if !ok {
		return nil
	}
	failure, err := s.openFailure(set, sealed, readAt, milliseconds(left))
	s.observeUnreadable(err)
	return failure
}

func (s *Store) observeUnreadable(err error) {
	if reason, ok := err.(unreadable); ok { //nolint:errorlint // it is not wrapped
		s.observer.Unreadable(string(reason))
	}
}

func milliseconds(count any) time.Duration {
	n, _ := count.(int64)
	return time.Duration(n) * time.Millisecond
}
