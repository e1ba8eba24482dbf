package broker

import (
	"maps"
	"sync"
	"time"
)

// Requests are numbers of token requests.
type Requests struct {
	Sent   int64
	Failed int64 // requests that brought no token
}

// requestCounts counts token requests.
type requestCounts struct {
	mu         sync.Mutex
	day        time.Time           // start of the current day in UTC
	credential map[string]int64    // requests of that day, by credential ID
	provider   map[string]Requests // requests since the Broker was made, by provider ID
}

// count counts one token request, which may be for several credentials.
func (c *requestCounts) count(provider string, ids []string, failed bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if day := dayOf(now); c.credential == nil || day.After(c.day) {
		c.day, c.credential = day, map[string]int64{}
	}
	for _, id := range ids {
		c.credential[id]++
	}
	if c.provider == nil {
		c.provider = map[string]Requests{}
	}
	all := c.provider[provider]
	all.Sent++
	if failed {
		all.Failed++
	}
	c.provider[provider] = all
}

// `today` returns the number of requests for a credential since midnight UTC.
func (c *requestCounts) today(id string, now time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if dayOf(now).After(c.day) {
		return 0
	}
	return c.credential[id]
}

func dayOf(now time.Time) time.Time { return now.UTC().Truncate(24 * time.Hour) }

// TokenRequests returns the number of token requests since the Broker was made, by provider ID.
func (b *Broker) TokenRequests() map[string]Requests {
	b.requests.mu.Lock()
	defer b.requests.mu.Unlock()
	return maps.Clone(b.requests.provider)
}
