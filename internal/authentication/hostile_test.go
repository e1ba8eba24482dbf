package authentication_test

import (
	"net/http"
	"testing"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/testing/authtest"
	"github.com/authmaterial/broker/internal/testing/peertest"
)

// TestAnswersOfAHostileKeyServer has an issuer's server announce more than it sends, or send
// without end. No answer counts as a key set, and none allocates more than a few times the largest
// key set.
func TestAnswersOfAHostileKeyServer(t *testing.T) {
	for name, answer := range peertest.Answers() {
		t.Run(name, func(t *testing.T) {
			peertest.WantAllocated(t, 12<<20, func() {
				r := newRemote(t, func(server *authtest.KeyServer, _ *authentication.Issuer, _ *authentication.KeyOptions) {
					server.Does(func(w http.ResponseWriter, _ *http.Request) {
						conn, _, err := http.NewResponseController(w).Hijack()
						if err != nil {
							t.Error(err)
							return
						}
						defer conn.Close() //nolint:errcheck // the client may have closed it
						answer(conn)
					})
				}, keyES)
				r.wantUnavailable(keyES)
			})
		})
	}
}
