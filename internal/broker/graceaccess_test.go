package broker_test

import (
	"testing"
	"testing/synctest"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// tenant is a caller to which the first configuration grants nothing.
var tenant = broker.Caller{Caller: access.Caller{Name: "spiffe://prod/tenant", Method: "mutual_tls"}}

// useFor reloads the configuration, and grants the given credentials to the callers whose names
// match a pattern.
func (w *world) useFor(callers access.Pattern, credentials ...string) {
	w.Helper()
	all := access.Grant{Callers: []access.Pattern{callers}, Credentials: []access.Pattern{"*"}, Actions: []access.Action{access.Use}}
	if err := w.broker.Use(load(w.parse(credentials...).Credentials, access.NewPolicy(all))); err != nil {
		w.Fatal(err)
	}
	synctest.Wait()
}

// The account of a credential and its grants change in one reload. Callers that only the new
// configuration allows must not get the previous token.
func TestPreviousTokenIsForPreviousCallers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.useFor("spiffe://prod/web", mail(w.first))
		previous := w.getAs(web).Version
		stream := w.broker.Watch(tenant, nil, []string{"mail"})
		defer stream.Close()
		if first, err := stream.Next(w.Context()); err != nil || fault.From(first.Err).Reason != fault.AccessDenied {
			t.Fatalf("the watch sends %v (error: %v), want ACCESS_DENIED", first.Err, err)
		}
		for _, secret := range []string{"wrong", "wrong again"} {
			other := w.refused()
			other.Secret = secret
			w.useFor("*", mail(other))
			if version := w.getAs(web).Version; version != previous {
				t.Error("a caller that the previous configuration allows does not get the previous token")
			}
			if _, err := w.broker.Get(w.Context(), tenant, "mail"); fault.From(err).Reason != fault.CredentialRejected {
				t.Errorf("the error of Get is %v, want the rejection of the new secret", err)
			}
			if result := w.broker.GetBatch(w.Context(), tenant, []string{"mail"})[0]; fault.From(result.Err).Reason != fault.CredentialRejected {
				t.Errorf("the error in the batch is %v, want the rejection of the new secret", result.Err)
			}
			if _, _, err := w.broker.ReportRejection(w.Context(), tenant, "mail", "v", 403); fault.From(err).Reason != fault.CredentialRejected {
				t.Errorf("the error of the report is %v, want the rejection of the new secret", err)
			}
		}
		if second, err := stream.Next(w.Context()); err != nil || fault.From(second.Err).Reason != fault.CredentialRejected {
			t.Errorf("the watch sends %v (error: %v), want the rejection of the new secret", second.Err, err)
		}
	})
}

// A credential moves to another provider with the same host. The previous token must not be served.
func TestPreviousTokenIsForItsProvider(t *testing.T) {
	inWorld(t, func(w *world) {
		previous := w.version()
		moved := `{id: mail, provider: other, auth_method: main, values: {client_id: {value: a}, client_secret: {value: wrong}}}
providers:
  - id: other
    display_name: Other
    allowed_hosts: [api.sendpulse.com]
    auth_methods:
      - id: main
        display_name: Main
        fields:
          - {id: client_id, display_name: ID, required: true}
          - {id: client_secret, display_name: Secret, required: true, secret: true}
        token_request: {url: "https://api.sendpulse.com/oauth/access_token", body: JSON, client_authentication: REQUEST_BODY}
        headers: [{name: Authorization, value: "Bearer ${token}"}]`
		w.use(moved)
		decoration, err := w.broker.Get(w.Context(), nobody, "mail")
		if err == nil && decoration.Version == previous {
			t.Error("another provider's token is served")
		}
		w.checkReason(err, fault.CredentialRejected)
	})
}
