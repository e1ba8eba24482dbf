package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"time"
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
	_, values, err := s.readUsage(ctx, s.usageKeys(credentialID))
	return values, err
}

// UpdateUsage replaces the JSON values of a credential by the result of `change`, which gets what
// Usage returns. The result must have at most 400 KiB. UpdateUsage calls `change` again if another
// replica makes a change meanwhile.
func (s *Store) UpdateUsage(ctx context.Context, credentialID string, change func([]json.RawMessage) json.RawMessage) error {
	keys := s.usageKeys(credentialID)
	for range maxUsageAttempts {
		sealed, values, err := s.readUsage(ctx, keys)
		if err != nil {
			return err
		}
		reply, err := s.run(ctx, "usage_write", replaceScript, keys[:1],
			maxEntry, sealed[:min(len(sealed), identifying)], s.seal(keys[0], change(values)), usageLife.Milliseconds())
		if err != nil {
			return err
		}
		if replaced, _ := reply.Bool(); replaced {
			return nil
		}
	}
	return errReplaced
}

// readUsage returns the encrypted entry at the first of some Redis keys, and the JSON values in the
// entries at all of them.
func (s *Store) readUsage(ctx context.Context, keys []string) (first string, values []json.RawMessage, err error) {
	for i, key := range keys {
		reply, err := s.run(ctx, "usage_read", recordScript, []string{key}, maxEntry)
		if err != nil {
			return "", nil, err
		}
		answer, err := reply.Slice()
		if err != nil || len(answer) != 2 {
			return "", nil, errReply
		}
		var value json.RawMessage
		sealed, life, err := s.open(key, answer[0], answer[1], &value)
		if i == 0 {
			first = sealed
		}
		if err == nil && life > usageLife {
			err = errNoEnd
		}
		if err != nil {
			s.observeUnreadable(err)
			continue
		}
		values = append(values, value)
	}
	return first, values, nil
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
