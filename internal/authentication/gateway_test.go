package authentication_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/authtest"
)

// In TestGatewaysAnswersAreNotTheIssuers, a gateway answers requests for keys in place of the
// issuer. The gateway sends the status 200 without a key set, or a key set with another status. The
// gateway's answers must neither withdraw nor add keys.
func TestGatewaysAnswersAreNotTheIssuers(t *testing.T) {
	type answer struct {
		status int
		body   string
	}
	answers := []answer{
		{200, `{"message":"Forbidden"}`}, {200, `{"error":"internal_error"}`}, {200, `{}`}, {200, `null`}, {200, `[]`}, {200, ``},
		{200, `"keys"`}, {200, `{"keys":null}`}, {200, `{"keys":{}}`}, {200, `{"keys":"none"}`}, {200, `<html>keys</html>`},
		{200, `{"kty":"oct","k":"AA"}`}, {200, `{"kty":"none"}`},
	}
	for _, status := range []int{201, 202, 203, 204, 302, 304, 400, 401, 403, 404, 407, 421, 429, 500, 502, 503, 511} {
		body := string(authtest.KeySet(keyES2))
		if status == http.StatusNoContent || status == http.StatusNotModified {
			body = ""
		}
		answers = append(answers, answer{status, body}, answer{status, ""})
	}
	r := newRemote(t, nil, keyES)
	r.wantGood(keyES)
	r.awaitRequest()
	for _, a := range answers {
		t.Run(fmt.Sprintf("%d %.30s", a.status, a.body), func(t *testing.T) {
			r := r
			r.T = t
			before := r.server.Requests()
			r.server.Does(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(a.status)
				_, _ = w.Write([]byte(a.body))
			})
			r.clock.Advance(10 * time.Second)
			r.wantUnavailable(keyES2)
			r.wantGood(keyES)
			r.wantRequests(before + 1)
		})
	}
}
