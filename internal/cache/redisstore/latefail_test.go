package redisstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/testing/redistest"
	"github.com/authmaterial/broker/internal/token"
)

// A replica is paused during its token request, which fails. Before the replica stores that
// failure, another replica stores a token.
func TestLateFailureDoesNotCount(t *testing.T) {
	server := redistest.Start(t)
	keys := fleetkeys.RandomRing()
	slow, quick := open(t, server, keys), open(t, server, keys)
	never := func(cache.Record) bool { return false }
	_, late, err := slow.Lock(t.Context(), "3f", never)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Release()
	client := server.Client()
	for _, key := range client.Keys(t.Context(), "*:lock").Val() {
		client.Del(t.Context(), key) // deletes the lock, as if it had expired
	}
	_, lease, err := quick.Lock(t.Context(), "3f", never)
	if err != nil {
		t.Fatal(err)
	}
	failure := &cache.Failure{Fault: fault.New(fault.CredentialRejected, "refused"), Until: time.Now().Add(time.Minute), Count: 1, Refusal: true}
	if err := late.Fail(t.Context(), failure); !errors.Is(err, cache.ErrLeaseLost) {
		t.Errorf("while another replica has the lease, Fail returns %v", err)
	}
	fresh := &token.Token{Value: secret.New("fresh"), RequestedAt: time.Now(), Lifetime: time.Hour}
	if _, err := lease.Commit(t.Context(), fresh, false); err != nil {
		t.Fatal(err)
	}
	lease.Release()
	if err := late.Fail(t.Context(), failure); !errors.Is(err, cache.ErrLeaseLost) {
		t.Errorf("after another replica has stored a token, Fail returns %v", err)
	}
	if record, err := quick.Load(t.Context(), "3f"); err != nil || record.Token == nil || record.Failure != nil {
		t.Errorf("Load returns record %+v, error %v; want the token and no failure", record, err)
	}
}

// Commit does not store a token that has already ended. After that, Fail of the same lease must
// still store a failure.
func TestFailureAfterATokenThatEnded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server, fleetkeys.RandomRing())
	commit(t, store, newToken("first"), false)
	_, lease := lock(t, store)
	defer lease.Release()
	ended := newTokenAt("ended", time.Now().Add(-2*time.Hour))
	if _, err := lease.Commit(t.Context(), ended, false); err != nil {
		t.Fatal(err)
	}
	failure := &cache.Failure{Fault: fault.New(fault.ProviderUnavailable, "late"), Until: time.Now().Add(time.Minute), Count: 1}
	if err := lease.Fail(t.Context(), failure); err != nil {
		t.Errorf("Fail returns %v", err)
	}
	if record, err := store.Load(t.Context(), key); err != nil || value(record.Token) != "first" || record.Failure == nil {
		t.Errorf("Load returns record %+v, error %v; want the first token and the failure", record, err)
	}
}
