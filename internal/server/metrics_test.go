package server_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/brokertest/simulator"
)

func TestMetrics(t *testing.T) {
	h := serve(t)
	provider := h.sim.SendPulse
	provider.FailNextTokenRequests(1, simulator.ServiceUnavailable(""))
	for _, want := range []codes.Code{codes.Unavailable, codes.OK, codes.OK} {
		if code := status.Code(h.get("token-of-mail")); code != want {
			t.Fatalf("the code is %v, want %v", code, want)
		}
		// Without ForgetFailures, the server would return the same stored error for a second.
		if err := h.server.ForgetFailures(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"key-of-board", "no-such-one"} {
		_ = h.get(id)
	}

	code, contentType, text := h.fetch("/metrics")
	if code != http.StatusOK || !strings.HasPrefix(contentType, "text/plain; version=0.0.4") {
		t.Fatalf("/metrics answers %d as %q", code, contentType)
	}
	for _, want := range []string{
		`authmaterial_build_info{version="test"} 1`,
		`authmaterial_credentials 2`,
		`authmaterial_token_requests_total{auth_method="oauth2_client_credentials",provider="sendpulse",result="ok"} 1`,
		`authmaterial_token_requests_total{auth_method="oauth2_client_credentials",provider="sendpulse",result="unavailable"} 1`,
		`authmaterial_token_request_duration_seconds_count{auth_method="oauth2_client_credentials",provider="sendpulse"} 2`,
		`grpc_server_handled_total{grpc_code="OK",grpc_method="GetAuthDecoration",grpc_service="authmaterial.v1.BrokerService",grpc_type="unary"} 3`,
		`grpc_server_handled_total{grpc_code="Unavailable",grpc_method="GetAuthDecoration",grpc_service="authmaterial.v1.BrokerService",grpc_type="unary"} 1`,
		`grpc_server_handled_total{grpc_code="NotFound",grpc_method="GetAuthDecoration",grpc_service="authmaterial.v1.BrokerService",grpc_type="unary"} 1`,
		`grpc_server_handled_total{grpc_code="OK",grpc_method="ReportRejection",grpc_service="authmaterial.v1.BrokerService",grpc_type="unary"} 0`,
		`grpc_server_handling_seconds_count{grpc_method="GetAuthDecoration",grpc_service="authmaterial.v1.BrokerService",grpc_type="unary"} 5`,
	} {
		if !strings.Contains("\n"+text, "\n"+want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if !strings.Contains(text, "\ngo_goroutines ") {
		t.Error("/metrics lacks the metrics of Go")
	}
	for _, id := range []string{"token-of-mail", "key-of-board", "no-such-one"} {
		if strings.Contains(text, id) {
			t.Errorf("/metrics contains the credential ID %s", id)
		}
	}
	h.wantNoSecret("/metrics", text)
}

// TestMetricsOfTokenRequests makes a token request for each possible result.
func TestMetricsOfTokenRequests(t *testing.T) {
	for result, failure := range map[string]simulator.Failure{
		"ok":           nil,
		"refused":      simulator.OAuthError(http.StatusUnauthorized, "invalid_client"),
		"rate_limited": simulator.TooManyRequests(""),
		"unavailable":  simulator.NotJSON(),
	} {
		t.Run(result, func(t *testing.T) {
			h := serve(t)
			h.sim.SendPulse.FailNextTokenRequests(1, failure)
			if err := h.get("token-of-mail"); (err == nil) != (failure == nil) {
				t.Fatalf("the call ends with %v", err)
			}
			var found []string
			_, _, text := h.fetch("/metrics")
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "authmaterial_token_requests_total{") && !strings.HasSuffix(line, " 0\n") {
					found = append(found, strings.TrimSuffix(line, "\n"))
				}
			}
			want := `authmaterial_token_requests_total{auth_method="oauth2_client_credentials",provider="sendpulse",result="` + result + `"} 1`
			if len(found) != 1 || found[0] != want {
				t.Errorf("the token requests are %q, want %q", found, want)
			}
		})
	}
}
