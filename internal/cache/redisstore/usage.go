package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// usageLife is how long the usage of a credential stays in Redis after its last change.
	usageLife = 7 * 24 * time.Hour
	// maxUsageAttempts is how often UpdateUsage tries to make a change.
	maxUsageAttempts = 5
	// identifying is the number of bytes at the beginning of an encrypted entry that identify it,
	// because they contain its random nonce.
	identifying = 32
)

// errReplaced is returned if other replicas changed a record during each attempt of UpdateUsage.
var errReplaced = errors.New("other replicas change the record at the same time")

// Usage returns the JSON values that UpdateUsage stored for a credential: at most one for each fleet
// key. Values that cannot be read are left out.
func (s *Store) Usage(ctx context.Context, credentialID string) ([]json.RawMessage, error) {
	found, err := s.readUsage(ctx, []string{credentialID})
	if err != nil {
		return nil, err
	}
	return found[0].values, nil
}

// UpdateUsage replaces the JSON values of some credentials by the results of `change`, which gets what
// Usage returns. A result must have at most 400 KiB. UpdateUsage calls `change` again for a credential
// if another replica makes a change meanwhile. All credentials share one round trip for reading and
// one for writing, so their number should be small enough for memory and for the time limit of an
// operation.
func (s *Store) UpdateUsage(
	ctx context.Context, credentialIDs []string, change func(credentialID string, known []json.RawMessage) json.RawMessage,
) error {
	for range maxUsageAttempts {
		found, err := s.readUsage(ctx, credentialIDs)
		if err != nil {
			return err
		}
		calls := make([]scriptCall, len(found))
		for i, u := range found {
			key := s.usageKeys(u.credentialID)[:1]
			calls[i] = scriptCall{key, []any{
				maxEntry, u.sealed[:min(len(u.sealed), identifying)], s.seal(key[0], change(u.credentialID, u.values)), usageLife.Milliseconds(),
			}}
		}
		replies, err := s.runAll(ctx, "usage_write", replaceScript, calls)
		if err != nil {
			return err
		}
		credentialIDs = nil // those that another replica has changed
		for i, reply := range replies {
			if replaced, _ := reply.Bool(); !replaced {
				credentialIDs = append(credentialIDs, found[i].credentialID)
			}
		}
		if len(credentialIDs) == 0 {
			return nil
		}
	}
	return errReplaced
}

// knownUsage is what Redis has about the usage of a credential.
type knownUsage struct {
	credentialID string
	sealed       string            // the encrypted entry under the first fleet key
	values       []json.RawMessage // the JSON values under all fleet keys
}

func (s *Store) readUsage(ctx context.Context, credentialIDs []string) ([]knownUsage, error) {
	var calls []scriptCall
	perCredential := 0 // the number of fleet keys
	for _, id := range credentialIDs {
		keys := s.usageKeys(id)
		perCredential = len(keys)
		for _, key := range keys {
			calls = append(calls, scriptCall{[]string{key}, []any{maxEntry}})
		}
	}
	replies, err := s.runAll(ctx, "usage_read", recordScript, calls)
	if err != nil {
		return nil, err
	}
	found := make([]knownUsage, len(credentialIDs))
	for i, reply := range replies {
		u := &found[i/perCredential]
		u.credentialID = credentialIDs[i/perCredential]
		sealed, value, err := s.openUsage(calls[i].keys[0], reply)
		if i%perCredential == 0 {
			u.sealed = sealed
		}
		if errors.Is(err, errReply) {
			return nil, err
		}
		if err != nil {
			s.observeUnreadable(err)
		} else {
			u.values = append(u.values, value)
		}
	}
	return found, nil
}

// openUsage returns the encrypted entry in a reply of recordScript, and the JSON value in it.
func (s *Store) openUsage(key string, reply *redis.Cmd) (sealed string, value json.RawMessage, err error) {
	answer, err := reply.Slice()
	if err != nil || len(answer) != 2 {
		return "", nil, errReply
	}
	sealed, life, err := s.open(key, answer[0], answer[1], &value)
	if err == nil && life > usageLife {
		err = errNoEnd
	}
	return sealed, value, err
}

// usageKeys returns the Redis keys of a credential's usage, one for each fleet key. The replica
// stores usage only under the first one.
func (s *Store) usageKeys(credentialID string) []string {
	keys := s.keys.Names("usage of " + credentialID)
	for i, name := range keys {
		keys[i] = prefix + "{" + name + "}:usage"
	}
	return keys
}
