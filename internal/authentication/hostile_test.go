package authentication_test

import (
	"net/http"
	"testing"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/testing/authtest"
	"github.com/authmaterial/broker/internal/testing/peertest"
)

// TestAnswersOfAHostileKeyServer fetches keys from a server that announces a longer answer than it
// sends, or sends data without end. The client must not accept these answers as key sets, and must
// not allocate more than a few times the size of the largest key set for them.
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
						defer conn.Close() //nolint:errcheck // an error is expected: the client may have closed the connection
						answer(conn)
					})
				}, keyES)
				r.wantUnavailable(keyES)
			})
		})
	}
}
