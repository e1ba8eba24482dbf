package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// calls returns the log lines about calls, without durations.
func (h harness) calls() []line {
	h.Helper()
	var found []line
	for _, l := range h.log.lines(h.T, "call") {
		if !strings.HasPrefix(l["method"].(string), "/"+brokerService+"/") {
			continue
		}
		if took, ok := l["took"].(float64); !ok || took < 0 {
			h.Errorf("a log line has the duration %v", l["took"])
		}
		delete(l, "took")
		found = append(found, l)
	}
	return found
}

func TestFailedCallsAreLogged(t *testing.T) {
	const getMethod = "/authmaterial.v1.BrokerService/GetAuthDecoration"
	for name, test := range map[string]struct {
		failure simulator.Failure
		call    func(ctx context.Context, client authmaterialv1.BrokerServiceClient) error
		want    line
	}{
		"unknown": {nil, getter("no-such-one"), line{
			"level": "INFO", "method": getMethod, "code": "NotFound", "reason": "CREDENTIAL_NOT_FOUND",
			"credential_id": "no-such-one", "message": `there is no credential "no-such-one", or it is disabled`,
		}},
		"malformed": {nil, getter("No such\none"), line{
			"level": "INFO", "method": getMethod, "code": "InvalidArgument", "reason": "INVALID_REQUEST",
			"credential_id": "No such\none", "message": "the credential ID must match ^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$",
		}},
		"long": {nil, getter(strings.Repeat("x", 1000)), line{
			"level": "INFO", "method": getMethod, "code": "InvalidArgument", "reason": "INVALID_REQUEST",
			"credential_id": strings.Repeat("x", 128), "message": "the credential ID must match ^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$",
		}},
		"empty batch": {nil, func(ctx context.Context, client authmaterialv1.BrokerServiceClient) error {
			_, err := client.BatchGetAuthDecorations(ctx, &authmaterialv1.BatchGetAuthDecorationsRequest{})
			return err
		}, line{
			"level": "INFO", "method": "/authmaterial.v1.BrokerService/BatchGetAuthDecorations", "code": "InvalidArgument",
			"reason": "INVALID_REQUEST", "message": "credential_ids must have 1 to 100 IDs, and has 0",
		}},
		"refused": {simulator.OAuthError(http.StatusUnauthorized, "invalid_client"), getter("token-of-mail"), line{
			"level": "WARN", "method": getMethod, "code": "FailedPrecondition", "reason": "CREDENTIAL_REJECTED",
			"credential_id": "token-of-mail", "message": "SendPulse refused the credential (HTTP 401, invalid_client)",
		}},
		"unavailable": {simulator.HTMLPage(http.StatusServiceUnavailable), reporter("token-of-mail"), line{
			"level": "WARN", "method": "/authmaterial.v1.BrokerService/ReportRejection", "code": "Unavailable", "reason": "PROVIDER_UNAVAILABLE",
			"credential_id": "token-of-mail", "message": "SendPulse could not answer the token request (HTTP 503)",
		}},
		"rate limited": {simulator.TooManyRequests("60"), getter("token-of-mail"), line{
			"level": "WARN", "method": getMethod, "code": "Unavailable", "reason": "PROVIDER_RATE_LIMITED",
			"credential_id": "token-of-mail", "message": "SendPulse answered that there are too many token requests (HTTP 429)",
		}},
		"too many forced renewals": {nil, reporter("token-of-mail"), line{
			"level": "WARN", "method": "/authmaterial.v1.BrokerService/ReportRejection", "code": "ResourceExhausted", "reason": "RATE_LIMITED",
			"credential_id": "token-of-mail", "message": "too many forced renewals of this credential",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := serve(t)
			h.sim.SendPulse.FailTokenRequests(test.failure)
			if err := test.call(t.Context(), h.client()); err == nil {
				t.Fatal("the call succeeded")
			}
			test.want["caller"] = "local"
			if diff := cmp.Diff([]line{test.want}, h.calls()); diff != "" {
				t.Errorf("the lines of the log (-want +got):\n%s", diff)
			}
			h.wantNoSecret("the log", h.log.String())
		})
	}
}

// No caller in TestDeniedCallersAreLogged has a grant.
func TestDeniedCallersAreLogged(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.listenTLS()+w.authentication()+"\ngrants: [{callers: [\"token:another\"], credentials: [\"*\"]}]\n", listenTCP(t))
	spiffe := w.dial(h, w.authority.IssueSPIFFE("spiffe://example.test/mailer"))
	for caller, authorization := range map[string]string{
		"spiffe://example.test/mailer": "", "token:mailer": "Bearer " + w.mailer.Reveal(), "jwt:idp:alice": "Bearer " + w.mint(w.key, nil),
	} {
		for _, id := range []string{"key-of-board", "none"} {
			before := len(h.calls())
			if err := getter(id)(with(t.Context(), authorization), authmaterialv1.NewBrokerServiceClient(spiffe)); status.Code(err) != codes.PermissionDenied {
				t.Fatal(err)
			}
			want := line{
				"level": "INFO", "method": "/authmaterial.v1.BrokerService/GetAuthDecoration", "code": "PermissionDenied", "reason": "ACCESS_DENIED",
				"credential_id": id, "caller": caller, "message": "the caller has no grant for this credential ID",
			}
			h.awaitLine("call", before)
			if diff := cmp.Diff(want, h.calls()[before]); diff != "" {
				t.Errorf("the log line of the call (-want +got):\n%s", diff)
			}
		}
	}
}

func getter(id string) func(context.Context, authmaterialv1.BrokerServiceClient) error {
	return func(ctx context.Context, client authmaterialv1.BrokerServiceClient) error {
		_, err := client.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
		return err
	}
}

// reporter returns a function that reports rejections until a report fails. Each report after the
// first is about the decoration in the previous answer.
func reporter(id string) func(context.Context, authmaterialv1.BrokerServiceClient) error {
	return func(ctx context.Context, client authmaterialv1.BrokerServiceClient) error {
		for version := "none"; ; {
			response, err := client.ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
				CredentialId: id, Version: version, HttpStatus: http.StatusUnauthorized,
			})
			if err != nil {
				return err
			}
			version = response.GetAuthDecoration().GetVersion()
		}
	}
}

func TestSuccessfulCallsAreLoggedAtDebugLevel(t *testing.T) {
	goodCalls := func(h harness) {
		for _, id := range []string{"token-of-mail", "key-of-board"} {
			if err := h.get(id); err != nil {
				h.Fatal(err)
			}
		}
		_, err := h.client().BatchGetAuthDecorations(h.Context(), &authmaterialv1.BatchGetAuthDecorationsRequest{
			CredentialIds: []string{"token-of-mail", "key-of-board", "no-such-one"},
		})
		if err != nil {
			h.Fatal(err)
		}
		h.wantNoSecret("the log", h.log.String())
	}

	h := serve(t)
	goodCalls(h)
	if lines := h.calls(); lines != nil {
		t.Errorf("at the level info the log has %v", lines)
	}

	log := new(journal)
	h = serve(t, debugLog(log))
	h.log = log
	goodCalls(h)
	want := []line{
		{"level": "DEBUG", "method": "/authmaterial.v1.BrokerService/GetAuthDecoration", "code": "OK", "credential_id": "token-of-mail"},
		{"level": "DEBUG", "method": "/authmaterial.v1.BrokerService/GetAuthDecoration", "code": "OK", "credential_id": "key-of-board"},
		{"level": "DEBUG", "method": "/authmaterial.v1.BrokerService/BatchGetAuthDecorations", "code": "OK"},
	}
	if diff := cmp.Diff(want, h.calls()); diff != "" {
		t.Errorf("the lines of the log (-want +got):\n%s", diff)
	}
}

// Watches that end at their maximum age, or because the server stops, are logged at level debug
// only.
func TestEndedWatchesAreLoggedAtDebugLevel(t *testing.T) {
	inScene(t, func(b *scene) {
		watchToItsEnd := func() {
			stream, err := b.client.WatchAuthDecorations(b.Context(), &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"key-of-board"}})
			for err == nil {
				_, err = stream.Recv()
			}
			if status.Code(err) != codes.Unavailable {
				b.Errorf("the watch ends with %v, want UNAVAILABLE", err)
			}
		}
		watchToItsEnd()
		time.AfterFunc(time.Minute, func() { b.server.Stop(context.Background()) })
		watchToItsEnd()
		if lines := b.log.lines(b.T, "call"); lines != nil {
			b.Errorf("at the level info the log has %v", lines)
		}
	})
}

func TestTokenRequestsAreLogged(t *testing.T) {
	h := serve(t)
	h.sim.SendPulse.FailNextTokenRequests(1, simulator.HTMLPage(http.StatusBadGateway))
	for range 2 {
		_ = h.get("token-of-mail")
		if err := h.server.ForgetFailures(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string][]line{}
	for _, message := range []string{"no token issued", "token issued"} {
		for _, l := range h.log.lines(t, message) {
			delete(l, "took")
			got[message] = append(got[message], l)
		}
	}
	want := map[string][]line{
		"no token issued": {{
			"level": "WARN", "provider": "sendpulse", "auth_method": "oauth2_client_credentials",
			"credential_ids": []any{"token-of-mail"},
			"result":         "unavailable", "message": "SendPulse could not answer the token request (HTTP 502)",
		}},
		"token issued": {{
			"level": "INFO", "provider": "sendpulse", "auth_method": "oauth2_client_credentials", "credential_ids": []any{"token-of-mail"},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the lines of the log (-want +got):\n%s", diff)
	}
	h.wantNoSecret("the log", h.log.String())
}

// For several token answers with an unreadable expires_in, the log has one warning that does not
// quote the answers.
func TestUnreadableLifetimeIsLogged(t *testing.T) {
	h := serve(t)
	h.sim.SendPulse.FailTokenRequests(simulator.ExpiresIn("canary of an hour"))
	first, err := h.client().GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "token-of-mail"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.client().ReportRejection(t.Context(), &authmaterialv1.ReportRejectionRequest{
		CredentialId: "token-of-mail", Version: first.GetAuthDecoration().GetVersion(), HttpStatus: http.StatusUnauthorized,
	})
	if err != nil || second.GetOutcome() != authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED {
		t.Fatalf("the answer to the report is %v, with the error %v", second.GetOutcome(), err)
	}
	const message = "the token answer has no valid expires_in: the token gets the auth method's default_lifetime"
	want := []line{{
		"level": "WARN", "provider": "sendpulse", "auth_method": "oauth2_client_credentials", "credential_ids": []any{"token-of-mail"},
	}}
	if diff := cmp.Diff(want, h.log.lines(t, message)); diff != "" {
		t.Errorf("the lines of the log (-want +got):\n%s", diff)
	}
	if strings.Contains(h.log.String(), "canary of an hour") {
		t.Error("the log quotes the answer")
	}
}

// TestManagementCallsAreLogged checks that calls over HTTP are logged as calls over gRPC are. The
// lines must contain the ID of the credential, even if it is in a nested message of the request.
func TestManagementCallsAreLogged(t *testing.T) {
	m := serveSQLite(t)
	for method, body := range map[string]string{
		"CreateCredential": createBody("pulse"), "UpdateCredential": `{"credential": {"credentialId": "pulse"}, "etag": "x"}`,
	} {
		if a := m.post("viewer", credentialService+method, body); a.code != http.StatusForbidden {
			t.Fatalf("%s answers %d %s", method, a.code, a.text)
		}
	}
	if _, err := m.credentials.UpdateCredential(m.as("viewer"), &authmaterialv1.UpdateCredentialRequest{
		Credential: &authmaterialv1.Credential{CredentialId: "pulse"}, Etag: "x",
	}); status.Code(err) != codes.PermissionDenied {
		t.Fatal(err)
	}
	found := map[string][]any{}
	for _, l := range m.log.lines(t, "call") {
		method := strings.TrimPrefix(l["method"].(string), "/"+credentialService)
		found[method] = append(found[method], l["credential_id"], l["code"])
	}
	want := map[string][]any{
		"CreateCredential": {"pulse", "PermissionDenied"}, "UpdateCredential": {"pulse", "PermissionDenied", "pulse", "PermissionDenied"},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("the lines of the log (-want +got):\n%s", diff)
	}
}
