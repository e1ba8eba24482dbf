package client_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

func TestRejectedRequiresUTF8(t *testing.T) {
	decoration := &authmaterialv1.AuthDecoration{RejectedWhen: []*authmaterialv1.RejectionCondition{{
		Statuses: []int32{http.StatusOK}, Json: new(authmaterialv1.JsonCondition),
	}}}
	for body, want := range map[string]bool{`{"error": "Schlüssel"}`: true, "{\"error\": \"Schl\xfcssel\"}": false} {
		response := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}
		if got := client.Rejected(response, decoration); got != want {
			t.Errorf("Rejected reports %v for the body %q", got, body)
		}
		if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != body {
			t.Errorf("the body is now %q, with the error %v", rest, err)
		}
	}
}
