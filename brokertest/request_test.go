package brokertest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

func TestMalformedAndUnknownIDs(t *testing.T) {
	h := newHarness(t, brokertest.WithCredentials(brokertest.Credential{
		ID: "off", Provider: "pendo", AuthMethod: "api_key", Values: map[string]string{"api_key": "k"}, Disabled: true,
	}))
	for id, reason := range map[string]string{
		"":                       "INVALID_REQUEST",
		"Upper":                  "INVALID_REQUEST",
		"-a":                     "INVALID_REQUEST",
		"a\n":                    "INVALID_REQUEST",
		strings.Repeat("a", 129): "INVALID_REQUEST",
		strings.Repeat("a", 128): "CREDENTIAL_NOT_FOUND",
		"a":                      "CREDENTIAL_NOT_FOUND",
		"off":                    "CREDENTIAL_NOT_FOUND",
	} {
		t.Run(fmt.Sprintf("%.20q", id), func(t *testing.T) {
			h := harness{T: t, Broker: h.Broker}
			got, _ := h.getError(id)
			if reason == "CREDENTIAL_NOT_FOUND" {
				h.wantError(got, codes.NotFound, reason)
				return
			}
			h.wantError(got, codes.InvalidArgument, reason)
			violations := detail[*errdetails.BadRequest](got).GetFieldViolations()
			if len(violations) != 1 || violations[0].GetField() != "credential_id" || violations[0].GetDescription() == "" {
				t.Errorf("the field violations are %v", violations)
			}
		})
	}
}

func TestMalformedReports(t *testing.T) {
	h := newHarness(t)
	for name, test := range map[string]struct {
		version string
		status  int32
		fields  []string
	}{
		"nothing":         {"", 0, []string{"version", "http_status"}},
		"no version":      {"", 401, []string{"version"}},
		"a long version":  {strings.Repeat("v", 65), 401, []string{"version"}},
		"an odd version":  {"a b", 401, []string{"version"}},
		"a low status":    {"v", 99, []string{"http_status"}},
		"a high status":   {"v", 600, []string{"http_status"}},
		"a negative one":  {"v", -1, []string{"http_status"}},
		"an unknown ID":   {"v", 401, nil},
		"a malformed one": {"v", 401, []string{"credential_id"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := harness{T: t, Broker: h.Broker}
			id := map[string]string{"an unknown ID": "no-such-one", "a malformed one": "No"}[name]
			if id == "" {
				id = "pendo"
			}
			_, err := h.report(id, test.version, test.status)
			if test.fields == nil {
				h.wantStatus(err, codes.NotFound, "CREDENTIAL_NOT_FOUND")
				return
			}
			h.wantStatus(err, codes.InvalidArgument, "INVALID_REQUEST")
			var fields []string
			for _, violation := range detail[*errdetails.BadRequest](status.Convert(err)).GetFieldViolations() {
				fields = append(fields, violation.GetField())
			}
			if strings.Join(fields, " ") != strings.Join(test.fields, " ") {
				t.Errorf("the field violations name %v, want %v", fields, test.fields)
			}
		})
	}
}

func (h harness) batch(ctx context.Context, ids ...string) ([]*authmaterialv1.AuthDecorationResult, error) {
	response, err := h.Client().BatchGetAuthDecorations(ctx, &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: ids})
	return response.GetResults(), err
}

func TestBatchAnswersEachIDInOrder(t *testing.T) {
	h := newHarness(t)
	long := strings.Repeat("é", 200)
	ids := []string{"pendo", "no-such-one", "sendpulse-oauth", "Malformed", "pendo", "", long}
	results, err := h.batch(t.Context(), ids...)
	if err != nil || len(results) != len(ids) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	reasons := map[string]authmaterialv1.ErrorReason{
		"no-such-one": authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_NOT_FOUND,
		"Malformed":   authmaterialv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
		"":            authmaterialv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
		long:          authmaterialv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
	}
	for i, result := range results {
		if want := string([]rune(ids[i])[:min(len([]rune(ids[i])), 128)]); result.GetCredentialId() != want {
			t.Errorf("batch result %d belongs to credential %.20q, want %.20q", i, result.GetCredentialId(), want)
		}
		if want := reasons[ids[i]]; result.GetError().GetReason() != want {
			t.Errorf("batch result %d has the error reason %v, want %v", i, result.GetError().GetReason(), want)
		}
		if reasons[ids[i]] == 0 && result.GetAuthDecoration().GetCredentialId() != ids[i] {
			t.Errorf("batch result %d does not contain the decoration of %q", i, ids[i])
		}
	}
	if code := results[1].GetError().GetCode(); code != int32(codes.NotFound) {
		t.Errorf("the code of an unknown ID is %d, want %d", code, codes.NotFound)
	}
}

func TestBatchBounds(t *testing.T) {
	h := newHarness(t)
	for _, n := range []int{0, 1, 100, 101} {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = "pendo"
		}
		results, err := h.batch(t.Context(), ids...)
		if n == 0 || n > 100 {
			h.wantStatus(err, codes.InvalidArgument, "INVALID_REQUEST")
		} else if err != nil || len(results) != n {
			t.Errorf("a batch of %d IDs returned %d results and the error %v", n, len(results), err)
		}
	}
}

func TestBatchDoesNotWaitForTheSlowest(t *testing.T) {
	h := newHarness(t)
	h.Simulator.SendPulse.FailTokenRequests(simulator.Hang())
	var results []*authmaterialv1.AuthDecorationResult
	err := untilAnswered(func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		results, err = h.batch(ctx, "sendpulse-oauth", "pendo")
		return err
	})
	if err != nil {
		t.Fatalf("because one provider is slow, the whole batch failed: %v", err)
	}
	slow := results[0].GetError()
	if slow.GetReason() != authmaterialv1.ErrorReason_ERROR_REASON_PROVIDER_UNAVAILABLE || slow.GetRetryDelay() == nil {
		t.Errorf("the item of the slow provider has the error reason %v", slow.GetReason())
	}
	if results[1].GetAuthDecoration() == nil {
		t.Error("the item of the fast provider has no decoration")
	}
}
