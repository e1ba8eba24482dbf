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

// failureMemory is how long a failure stays in Redis after its back-off has ended, so that the
// back-off after the next consecutive failure is longer.
const failureMemory = 30 * time.Minute

// unreadable is the type of errors for entries in Redis that cannot be read. The text of the error
// is one word for the cause.
type unreadable string

func (u unreadable) Error() string { return string(u) }

const (
	errFormat     = unreadable("format") // the entry was written by another version of the broker
	errUnknownKey = unreadable("key")    // the entry is encrypted under a fleet key that this replica does not have
	errDamaged    = unreadable("damaged")
	// errNoEnd is returned for an entry that does not expire, or that expires later than its token
	// or failure, because brokers write no such entries.
	errNoEnd = unreadable("no_end")
)

// errAbsent is returned when there is no entry, or when the entry expires within a millisecond.
var errAbsent = errors.New("there is no entry")

// storedToken is the JSON form of a token. The JSON form does not contain the token's LastEnd,
// because the token's Redis key expires at that time. Versions of the broker that do not know the
// field Delay take the expiry of the Redis key for the token's End.
type storedToken struct {
	Value        string        `json:"value"`
	Lifetime     time.Duration `json:"lifetime"`
	Delay        time.Duration `json:"delay,omitempty"`
	Assumed      bool          `json:"assumed,omitempty"`
	EndsPrevious bool          `json:"ends_previous,omitempty"`
	Window       time.Duration `json:"window,omitempty"`
}

// storedFailure is the JSON form of a failure. The failure's Redis key expires when the time Life
// is over, or earlier. RenewalWait is the time between Until and RenewalUntil of a cache.Failure.
type storedFailure struct {
	Reason      string        `json:"reason"`
	Message     string        `json:"message"`
	Life        time.Duration `json:"life"`
	Count       int           `json:"count"`
	Refusal     bool          `json:"refusal,omitempty"`
	RenewalWait time.Duration `json:"renewal_wait,omitempty"`
}

// storedReasons lists the reasons that a stored failure may have. In Redis, reasons are in lower
// case.
var storedReasons = []fault.Reason{
	fault.Internal, fault.CredentialRejected, fault.ProviderUnavailable, fault.ProviderRateLimited, fault.RateLimited,
}

func (s *Store) sealToken(set keySet, t *token.Token) []byte {
	return s.seal(set.token, storedToken{
		Value: t.Value.Reveal(), Lifetime: t.Lifetime, Delay: t.Delay, Assumed: t.Assumed,
		EndsPrevious: t.EndsPrevious, Window: t.Window,
	})
}

// readToken returns the token in a script's reply, or nil if the token cannot be read, and the
// encrypted entry. The parameter `left` is the remaining life of the entry at the time `readAt`.
func (s *Store) readToken(set keySet, entry, left any, readAt time.Time) (t *token.Token, sealed string) {
	var stored storedToken
	sealed, life, err := s.open(set.token, entry, left, &stored)
	switch {
	case err != nil:
	case life > stored.Lifetime, stored.Lifetime > token.MaxLifetime:
		err = errNoEnd // the expiry was changed, or Redis' clock was set back
	case stored.Value == "":
		err = errDamaged
	}
	if err != nil {
		s.observeUnreadable(err)
		return nil, sealed
	}
	delay := min(max(0, stored.Delay), token.MaxDelay)
	return &token.Token{
		Value:       secret.New(stored.Value),
		RequestedAt: readAt.Add(life - stored.Lifetime - delay), Delay: delay, Lifetime: stored.Lifetime,
		Assumed: stored.Assumed, EndsPrevious: stored.EndsPrevious, Window: stored.Window,
	}, sealed
}

// sealFailure encrypts a failure for Redis, and returns when the entry expires.
func (s *Store) sealFailure(set keySet, failure *cache.Failure, now time.Time) (sealed []byte, life time.Duration) {
	life = max(0, failure.Until.Sub(now)) + failureMemory
	return s.seal(set.failure, storedFailure{
		Reason: strings.ToLower(string(failure.Fault.Reason)), Message: failure.Fault.Message, Life: life,
		Count: failure.Count, Refusal: failure.Refusal, RenewalWait: failure.RenewalUntil.Sub(failure.Until),
	}), life
}

// readFailure returns the failure in a script's reply, or nil if it cannot be read. The parameter
// `left` is the remaining life of the entry at the time `readAt`.
func (s *Store) readFailure(set keySet, entry, left any, readAt time.Time) *cache.Failure {
	var stored storedFailure
	_, life, err := s.open(set.failure, entry, left, &stored)
	reason := fault.Reason(strings.ToUpper(stored.Reason))
	switch {
	case err != nil:
	case life > stored.Life:
		err = errNoEnd
	case !slices.Contains(storedReasons, reason):
		err = errFormat
	}
	if err != nil {
		s.observeUnreadable(err)
		return nil
	}
	until := readAt.Add(life - failureMemory)
	return &cache.Failure{
		Fault: fault.New(reason, stored.Message),
		Until: until, RenewalUntil: until.Add(min(max(0, stored.RenewalWait), failureMemory)),
		Count: stored.Count, Refusal: stored.Refusal,
	}
}

func (s *Store) seal(key string, stored any) []byte {
	plain, err := json.Marshal(stored)
	if err != nil {
		panic("redisstore: an entry cannot be marshalled") // strings and numbers can always be marshalled
	}
	return s.keys.Seal(key, plain)
}

// open decrypts an entry in a script's reply. The parameter `left` is the remaining life of the
// entry in milliseconds.
func (s *Store) open(key string, entry, left any, stored any) (sealed string, life time.Duration, err error) {
	sealed, ok := entry.(string)
	count, _ := left.(int64)
	life = time.Duration(count) * time.Millisecond
	switch {
	case !ok:
		return "", 0, errAbsent
	case life < 0:
		return sealed, life, errNoEnd
	case life == 0:
		return sealed, life, errAbsent // the entry expires at this moment
	}
	plain, err := s.keys.Open(key, []byte(sealed))
	switch {
	case errors.Is(err, fleetkeys.ErrUnknownFormat):
		err = errFormat
	case errors.Is(err, fleetkeys.ErrUnknownKey):
		err = errUnknownKey
	case err != nil || json.Unmarshal(plain, stored) != nil:
		err = errDamaged
	}
	return sealed, life, err
}

func (s *Store) observeUnreadable(err error) {
	if reason, ok := err.(unreadable); ok { //nolint:errorlint // errors of type unreadable are never wrapped
		s.observer.Unreadable(string(reason))
	}
}
