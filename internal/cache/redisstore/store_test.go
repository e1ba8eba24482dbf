package redisstore_test

import (
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache/cachetest"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/redistest"
)

func TestStore(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	cachetest.TestStore(t, func(t *testing.T) cachetest.Harness {
		clock := &aheadClock{Clock: clockwork.NewRealClock()}
		withClock := func(o *redisstore.Options) { o.Clock = clock }
		return cachetest.Harness{
			Store:   open(t, server, fleetkeys.RandomRing(), withClock), // with names of its own
			Clock:   clock,
			Advance: func(d time.Duration) { advance(t, clock, client, d) },
		}
	})
}
