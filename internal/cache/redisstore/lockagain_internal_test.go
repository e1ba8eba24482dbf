package redisstore

import (
	"errors"
	"testing"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// The first attempt to lock a token timed out because the process got no CPU time, but Redis
// granted the lock. The same owner must get the lock at the second attempt, and another owner must
// not.
func TestLockAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := New(Options{Server: Server{Addresses: []string{server.Addr()}}, Keys: fleetkeys.RandomRing()})
	t.Cleanup(s.Close)
	keys := s.tokens.of("3f")
	for range 2 {
		if _, err := s.look(t.Context(), keys, "one"); err != nil {
			t.Errorf("the owner does not get the lock: %v", err)
		}
	}
	if _, err := s.look(t.Context(), keys, "other"); !errors.Is(err, errLocked) {
		t.Errorf("another owner gets error %v, want errLocked", err)
	}
}
