package config

import (
	"time"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// TokenCache says where tokens are kept, and when they are renewed. Its zero value is in
// memory, with the defaults.
type TokenCache struct {
	// Redis is nil for memory. Then FleetKeys can be there all the same.
	Redis *Redis
	// FleetKeys is nil when the file has none.
	FleetKeys *fleetkeys.Ring
	// RenewalWindow is how long before a token's margin its renewal begins at most. 10 s
	// to 12 h, or 0: not set.
	RenewalWindow time.Duration
	// ForcedLimit is how many forced renewals a token may have within ForcedWindow. 1 to
	// 100 in 1 min to 1 h; 0: not set.
	ForcedLimit  int
	ForcedWindow time.Duration
}

// Same reports whether both mean the same cache. Secrets and certificates count by what is
// in them, not by where they were read.
func (c TokenCache) Same(other TokenCache) bool {
	return c.Redis.same(other.Redis) &&
		c.FleetKeys.Equal(other.FleetKeys) &&
		c.RenewalWindow == other.RenewalWindow &&
		c.ForcedLimit == other.ForcedLimit &&
		c.ForcedWindow == other.ForcedWindow
}

func parseTokenCache(value strictyaml.Value, reader sourceReader) TokenCache {
	forced := value.Key("forced_renewals")
	limit, _ := forced.Key("limit").Int()
	if value.Key("redis").Exists() && !value.Key("fleet_keys").Exists() {
		value.KeyNode("redis").Problemf("token_cache.redis needs fleet_keys: make one with 'broker keygen' and give it to every replica")
	}
	return TokenCache{
		Redis:         parseRedis(value.Key("redis"), reader),
		FleetKeys:     parseFleetKeys(value.Key("fleet_keys"), reader),
		RenewalWindow: parseDuration(value.Key("renewal_window"), 10*time.Second, 12*time.Hour, "from 10s to 12h, such as 5m"),
		ForcedLimit:   limit,
		ForcedWindow:  parseDuration(forced.Key("window"), time.Minute, time.Hour, "from 1m to 1h, such as 10m"),
	}
}

// parseFleetKeys returns nil when there are none, or one of them is wrong.
func parseFleetKeys(list strictyaml.Value, reader sourceReader) *fleetkeys.Ring {
	var keys []fleetkeys.Key
	for _, item := range list.Items() {
		text, ok := reader.readSecret(item)
		if !ok {
			continue
		}
		key, err := fleetkeys.Parse(text)
		if err != nil {
			item.Problemf("%s", err)
			continue
		}
		keys = append(keys, key)
		for i, earlier := range keys[:len(keys)-1] {
			if key.Equal(earlier) {
				item.Problemf("this fleet key stands twice: it is number %d of the list, too", i+1)
				break
			}
		}
	}
	ring, err := fleetkeys.NewRing(keys...)
	if err != nil {
		return nil // there are none, or a problem was reported
	}
	return ring
}

// parseDuration reads a duration between bounds, both included. It returns 0 when there
// is none. Allowed says the bounds.
func parseDuration(value strictyaml.Value, least, most time.Duration, allowed string) time.Duration {
	if value.Text() == "" {
		return 0 // the schema has reported what is no text
	}
	duration, err := time.ParseDuration(value.Text())
	if err != nil || duration < least || duration > most {
		value.Problemf("must be a duration %s", allowed)
		return 0
	}
	return duration
}
