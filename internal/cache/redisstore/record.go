package redisstore

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// failureMemory is how long a failure is known after its time is up, so that the next
// one in a row waits for longer.
const failureMemory = 30 * time.Minute

// errNoEnd says that an entry does not end when what is in it does: it lives for ever, or
// for longer than the token or the failure that it holds. The broker writes none like that.
var errNoEnd = errors.New("has no end, or one that is too late")

// errEnds says that an entry has less than a millisecond left.
var errEnds = errors.New("ends just now")

// errEmpty says that there is no token in an entry.
var errEmpty = errors.New("has no value")

// errUnknownReason says that a failure has a reason that this version does not know.
var errUnknownReason = errors.New("has an unknown reason")

// storedToken is the plain form of a token. Its LastEnd is not in there: that is when its
// key ends. Versions of the broker that know no Delay take it for the token's End.
type storedToken struct {
	Value        string        `json:"value"`
	Lifetime     time.Duration `json:"lifetime"`
	Delay        time.Duration `json:"delay,omitempty"`
	Assumed      bool          `json:"assumed,omitempty"`
	EndsPrevious bool          `json:"ends_previous,omitempty"`
	Window       time.Duration `json:"window,omitempty"`
}

// storedFailure is the plain form of a failure, likewise. Its key lives no longer than
// Life, and RenewalWait is from its Until to its RenewalUntil.
type storedFailure struct {
	Reason      string        `json:"reason"`
	Message     string        `json:"message"`
	Life        time.Duration `json:"life"`
	Count       int           `json:"count"`
	Refusal     bool          `json:"refusal,omitempty"`
	RenewalWait time.Duration `json:"renewal_wait,omitempty"`
}

// storedReasons are the reasons of failures by their stored names.
var storedReasons = map[string]fault.Reason{
	"internal":              fault.Internal,
	"credential_rejected":   fault.CredentialRejected,
	"provider_unavailable":  fault.ProviderUnavailable,
	"provider_rate_limited": fault.ProviderRateLimited,
	"rate_limited":          fault.RateLimited,
}

func reasonName(reason fault.Reason) string {
	for name, stored := range storedReasons {
		if stored == reason {
			return name
		}
	}
	return "internal"
}

// sealToken returns a token as it lies in Redis.
func (s *Store) sealToken(at place, t *token.Token) []byte {
	return s.seal(at.token, storedToken{
		Value: t.Value.Reveal(), Lifetime: t.Lifetime, Delay: t.Delay, Assumed: t.Assumed,
		EndsPrevious: t.EndsPrevious, Window: t.Window,
	})
}

// openToken returns the token in an entry that was read at a time, and lives for so long
// after it.
func (s *Store) openToken(at place, sealed []byte, readAt time.Time, left time.Duration) (*token.Token, error) {
	var stored storedToken
	if err := s.open(at.token, sealed, left, &stored); err != nil {
		return nil, err
	}
	switch {
	case left > stored.Lifetime, stored.Lifetime > token.MaxLifetime:
		return nil, errNoEnd // somebody changed it, or Redis' clock was put back
	case stored.Value == "":
		return nil, errEmpty
	}
	delay := min(max(0, stored.Delay), token.MaxDelay)
	return &token.Token{
		Value:       secret.New(stored.Value),
		RequestedAt: readAt.Add(left - stored.Lifetime - delay), Delay: delay, Lifetime: stored.Lifetime,
		Assumed: stored.Assumed, EndsPrevious: stored.EndsPrevious, Window: stored.Window,
	}, nil
}

// sealFailure returns a failure as it lies in Redis, and for how long it lies there.
func (s *Store) sealFailure(at place, failure *cache.Failure, now time.Time) (sealed []byte, life time.Duration) {
	life = max(0, failure.Until.Sub(now)) + failureMemory
	return s.seal(at.failure, storedFailure{
		Reason: reasonName(failure.Fault.Reason), Message: failure.Fault.Message, Life: life,
		Count: failure.Count, Refusal: failure.Refusal, RenewalWait: failure.RenewalUntil.Sub(failure.Until),
	}), life
}

// openFailure returns the failure in an entry, likewise.
func (s *Store) openFailure(at place, sealed []byte, readAt time.Time, left time.Duration) (*cache.Failure, error) {
	var stored storedFailure
	if err := s.open(at.failure, sealed, left, &stored); err != nil {
		return nil, err
	}
	reason, known := storedReasons[stored.Reason]
	switch {
	case left > stored.Life:
		return nil, errNoEnd
	case !known:
		return nil, errUnknownReason
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
		panic("redisstore: strings and numbers do not marshal") // they always do
	}
	return s.keys.Seal(key, plain)
}

func (s *Store) open(key string, sealed []byte, left time.Duration, stored any) error {
	switch {
	case left < 0:
		return errNoEnd
	case left == 0:
		return errEnds
	}
	plain, err := s.keys.Open(key, sealed)
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, stored)
}
