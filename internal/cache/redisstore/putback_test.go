package redisstore_test

import (
	"testing"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// Redis loses its data during a token request, and another replica puts the previous token back.
// The entry now has another ciphertext, but contains the token that was read before the request, so
// Commit must replace the entry.
func TestTokenIsPutBackDuringARequest(t *testing.T) {
	t.Parallel()
	for name, rejected := range map[string]bool{"renewal": false, "report": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, keys := redistest.Start(t), fleetkeys.RandomRing()
			store, other := open(t, server, keys), open(t, server, keys)
			former := newToken("former")
			commit(t, store, former, false)
			_, lease := lock(t, store)
			defer lease.Release()
			if err := server.Client().FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			commit(t, other, former, false)
			eventually(t, "the other's lease has ended", func() bool {
				return len(server.Client().Keys(t.Context(), "*:lock").Val()) == 0
			})
			wantCommit(t, lease, newToken("fresh"), rejected, "fresh")
			wantToken(t, other, "fresh")
		})
	}
}
