package cache_test

import (
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/testing/cachetest"
	"github.com/authmaterial/broker/internal/token"
)

func TestMemory(t *testing.T) {
	cachetest.TestStore(t, func(*testing.T) cachetest.Harness {
		clock := clockwork.NewFakeClock()
		return cachetest.Harness{Store: cache.NewMemory(clock), Clock: clock, Advance: clock.Advance}
	})
}

func TestMemoryDropsWhatHasEnded(t *testing.T) {
	clock := clockwork.NewFakeClock()
	store := cache.NewMemory(clock)
	for _, key := range []string{"wanted", "not wanted"} {
		_, lease, err := store.Lock(t.Context(), key, func(cache.Record) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		issued := &token.Token{Value: newValue(key), RequestedAt: clock.Now(), Lifetime: time.Hour}
		if _, err := lease.Commit(t.Context(), issued, false); err != nil {
			t.Fatal(err)
		}
		lease.Release()
	}
	wanted := func(key string) bool { return key == "wanted" }
	has := func(key string) bool {
		record, err := store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return record.Token != nil
	}
	store.Retain(wanted)
	if !has("wanted") || !has("not wanted") {
		t.Error("a token that is valid was dropped")
	}
	clock.Advance(time.Hour)
	store.Retain(wanted)
	if n := store.Len(); n != 1 {
		t.Errorf("%d keys are left, want 1", n)
	}
}
