package broker

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

const (
	// shareInterval is how often usage is saved in Options.SharedUsage.
	shareInterval = time.Minute
	// maxSharedUsage is the maximum size of the saved usage of one credential, in bytes.
	maxSharedUsage = 400 << 10
	// sharedBatch is the number of credentials whose usage is saved at once. It limits the memory to
	// sharedBatch times maxSharedUsage for what is read, and as much for what is written.
	sharedBatch = 32
)

// SharedUsage keeps the usage of credentials for the replicas of a fleet, as JSON.
type SharedUsage interface {
	// Usage returns what is known about a credential: any number of JSON values, in no order.
	Usage(ctx context.Context, credentialID string) ([]json.RawMessage, error)
	// UpdateUsage replaces what is known about some credentials by the results of `change`, which gets
	// what Usage returns. It calls `change` again if another replica makes a change meanwhile.
	UpdateUsage(ctx context.Context, credentialIDs []string, change func(credentialID string, known []json.RawMessage) json.RawMessage) error
}

// ShareUsage saves the usage of versions in Options.SharedUsage once a minute until ctx ends.
func (b *Broker) ShareUsage(ctx context.Context) {
	if b.options.SharedUsage == nil {
		return
	}
	ticker := b.options.Clock.NewTicker(shareInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.Chan():
			b.SaveUsage(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// SaveUsage saves in Options.SharedUsage what was noted since the last call. After a failure, the
// next call saves the rest.
func (b *Broker) SaveUsage(ctx context.Context) {
	if b.options.SharedUsage == nil {
		return
	}
	for ids := range slices.Chunk(b.usages.changed(), sharedBatch) {
		mine, now := b.usages.take(ids), minutesOf(b.wall(b.options.Clock.Now()))
		err := b.options.SharedUsage.UpdateUsage(ctx, ids, func(id string, known []json.RawMessage) json.RawMessage {
			all := new(credentialUsage)
			all.mergeAll(known, now)
			all.merge(mine[id], now)
			return all.encode(now)
		})
		if err != nil {
			b.usages.keep(ids)
			return
		}
	}
}

// usageOf returns the usage of a credential at all replicas. If the usage at the other replicas is
// not known, `shared` is false.
func (b *Broker) usageOf(ctx context.Context, id string, now minutes) (all *credentialUsage, shared bool) {
	all = b.usages.of(id)
	if b.options.SharedUsage != nil {
		known, err := b.options.SharedUsage.Usage(ctx, id)
		shared = err == nil
		all.mergeAll(known, now)
	}
	all.forget(now)
	return all, shared
}

// encode forgets the least recent callers if the usage is too large.
func (c *credentialUsage) encode(now minutes) json.RawMessage {
	for {
		encoded, err := json.Marshal(c)
		if err != nil {
			panic("broker: usage cannot be marshalled") // strings and numbers can always be marshalled
		}
		if len(encoded) <= maxSharedUsage {
			return encoded
		}
		c.limit(len(c.Callers)*3/4, now)
	}
}

// mergeAll adds saved usage.
func (c *credentialUsage) mergeAll(saved []json.RawMessage, now minutes) {
	for _, encoded := range saved {
		var other credentialUsage
		if json.Unmarshal(encoded, &other) == nil { // another release of the broker may have saved it
			other.correct(now)
			c.merge(&other, now)
		}
	}
}

// correct replaces times in the future by `now`: the clock of another replica may be fast.
func (c *credentialUsage) correct(now minutes) {
	for _, all := range c.Callers {
		for i := range all {
			v := &all[i]
			for _, at := range []*minutes{&v.Sent[0], &v.Sent[1], &v.Used[0], &v.Used[1]} {
				*at = min(max(*at, 0), now)
			}
		}
	}
	c.Forgot = min(max(c.Forgot, 0), now)
}

// changed returns the IDs of the credentials whose usage has not been saved yet.
func (x *usages) changed() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Collect(maps.Keys(x.unsaved))
}

// take returns the usage of credentials that is about to be saved. If it cannot be saved, keep must be
// called.
func (x *usages) take(ids []string) map[string]*credentialUsage {
	x.mu.Lock()
	for _, id := range ids {
		delete(x.unsaved, id)
	}
	x.mu.Unlock()
	taken := make(map[string]*credentialUsage, len(ids))
	for _, id := range ids {
		taken[id] = x.of(id)
	}
	return taken
}

func (x *usages) keep(ids []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range ids {
		if x.byCredential[id] != nil {
			x.unsaved[id] = struct{}{}
		}
	}
}
