package cache_test

import (
	"testing"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/cachetest"
)

func TestMemory(t *testing.T) {
	cachetest.TestStore(t, func(*testing.T) cachetest.Harness {
		clock := clockwork.NewFakeClock()
		return cachetest.Harness{Store: cache.NewMemory(clock), Clock: clock, Advance: clock.Advance}
	})
}
