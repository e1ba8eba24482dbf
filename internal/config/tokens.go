package config

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// TokenCache configures where tokens are stored, and when they are renewed. The zero value stores
// tokens in memory and uses the default settings.
type TokenCache struct {
	// Redis is where tokens are stored. If Redis is nil, tokens are stored in memory, but FleetKeys
	// may still be set.
	Redis *Redis
	// FleetKeys is nil if the file has no fleet keys.
	FleetKeys *fleetkeys.Ring
	// RenewalWindow is the largest length of the time span in which the renewal of a token starts.
	// The renewal's time span ends when the token's safety margin begins. RenewalWindow is 10 s to
	// 12 h, or 0 if the file does not set it.
	RenewalWindow time.Duration
	// ForcedLimit is the largest number of forced renewals of one token within ForcedWindow.
	// ForcedLimit is 1 to 100, and ForcedWindow is 1 min to 1 h. ForcedLimit and ForcedWindow are 0
	// if the file does not set them.
	ForcedLimit  int
	ForcedWindow time.Duration
}

// Same reports whether two configurations describe the same cache, comparing secrets and
// certificates by content, not by the files or variables that contain them.
func (c TokenCache) Same(other TokenCache) bool {
	return c.Redis.same(other.Redis) && c.FleetKeys.Equal(other.FleetKeys) && c.RenewalWindow == other.RenewalWindow &&
		c.ForcedLimit == other.ForcedLimit && c.ForcedWindow == other.ForcedWindow
}

func (p *parser) readTokenCache(section yamlfile.Value) TokenCache {
	section.Mapping("redis", "fleet_keys", "renewal_window", "forced_renewals")
	forced := section.Get("forced_renewals").Mapping("limit", "window")
	if !section.Get("fleet_keys").Exists() {
		section.Get("redis").Key().Problemf("token_cache.redis needs fleet_keys: make one with 'broker keygen' and give it to every replica")
	}
	return TokenCache{
		Redis:         p.readRedis(section.Get("redis")),
		FleetKeys:     p.readKeyRing(section.Get("fleet_keys"), "fleet key"),
		RenewalWindow: section.Get("renewal_window").Duration(10*time.Second, 12*time.Hour, 0, "from 10s to 12h, such as 5m"),
		ForcedLimit:   forced.Get("limit").Int(1, 100, 0),
		ForcedWindow:  forced.Get("window").Duration(time.Minute, time.Hour, 0, "from 1m to 1h, such as 10m"),
	}
}

// readKeyRing returns nil if the list is missing or a problem was reported.
func (p *parser) readKeyRing(list yamlfile.Value, noun string) *fleetkeys.Ring {
	var keys []fleetkeys.Key
	for _, item := range list.List(1, 10) {
		secret, ok := p.readSecret(item)
		if !ok {
			continue
		}
		key, err := fleetkeys.Parse(secret)
		if err != nil {
			item.Problemf("%s", err)
			continue
		}
		if earlier := slices.IndexFunc(keys, key.Equal); earlier >= 0 {
			item.Problemf("duplicate %s: it is also number %d of the list", noun, earlier+1)
		}
		keys = append(keys, key)
	}
	ring, err := fleetkeys.NewRing(keys...)
	if err != nil {
		return nil
	}
	return ring
}

// TokenRequests configures the token requests to providers.
type TokenRequests struct {
	// RootCAs verify the providers' certificates. If RootCAs is nil, the system's trusted
	// authorities verify the certificates.
	RootCAs *x509.CertPool
}

// Same reports whether two configurations are equal.
func (r TokenRequests) Same(other TokenRequests) bool {
	return r.RootCAs.Equal(other.RootCAs)
}

// readTokenRequests adds the authorities in `ca_file` to the system's trusted authorities.
func (p *parser) readTokenRequests(section yamlfile.Value) TokenRequests {
	file := section.Mapping("ca_file").Get("ca_file")
	if !file.Exists() {
		return TokenRequests{}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // the machine has no trusted authorities
	}
	for _, certificate := range p.readCertificates(file) {
		pool.AddCert(certificate)
	}
	return TokenRequests{RootCAs: pool}
}
