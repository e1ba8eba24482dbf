package authentication_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/internal/authentication"
)

func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later := time.Now().Add(3 * time.Minute).UTC().Format(http.TimeFormat)
		for name, test := range map[string]struct {
			header http.Header
			want   time.Duration
		}{
			"no header":      {nil, 0},
			"max-age":        {http.Header{"Cache-Control": {"public, max-age=120, must-revalidate"}}, 2 * time.Minute},
			"no max-age":     {http.Header{"Cache-Control": {"no-store"}}, 0},
			"a huge max-age": {http.Header{"Cache-Control": {"max-age=18446744073709551615"}}, 24 * time.Hour},
			"an empty value": {http.Header{"Cache-Control": {"public, max-age="}}, 0},
			"an empty field": {http.Header{"Cache-Control": {"no-cache="}}, 0},
			"not a number":   {http.Header{"Cache-Control": {"max-age=soon"}}, 0},
			"expires":        {http.Header{"Expires": {later}}, 3 * time.Minute},
			"both":           {http.Header{"Cache-Control": {"max-age=60"}, "Expires": {later}}, time.Minute},
			"not a time":     {http.Header{"Expires": {"0"}}, 0},
		} {
			if got := authentication.MaxAge(test.header); got != test.want {
				t.Errorf("%s: the maximum age is %v, want %v", name, got, test.want)
			}
		}
	})
}
