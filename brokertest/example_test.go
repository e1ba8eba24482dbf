package brokertest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// The service under test gets an HTTP client that adds the token. The provider revokes the token,
// and the service does not notice.
func ExampleBroker_HTTPClientWith() {
	t := newExampleT() // in your own test, pass the test's *testing.T instead
	defer t.end()

	b := brokertest.New(t)
	sendPulse := b.HTTPClientWith("sendpulse-oauth")
	for range 2 {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://api.sendpulse.com/user/info", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := sendPulse.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		fmt.Println(response.StatusCode)
		b.Simulator.SendPulse.RevokeTokens()
	}
	fmt.Println("token requests:", b.Simulator.SendPulse.TotalTokenRequests())

	// Output:
	// 200
	// 200
	// token requests: 2
}

// The service under test does without package client. It gets a token from the broker and calls the
// provider. When the provider rejects the token, the service reports the rejection to the broker and retries once.
func ExampleNew() {
	t := newExampleT() // in your own test, pass the test's *testing.T instead
	defer t.end()

	b := brokertest.New(t)
	ctx := context.Background()
	answer, err := b.Client().GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "sendpulse-oauth"})
	if err != nil {
		t.Fatal(err)
	}
	decoration := answer.GetAuthDecoration()

	b.Simulator.SendPulse.RevokeTokens()
	status := callSendPulse(ctx, t, b, decoration)
	fmt.Println("with the revoked token:", status)

	report, err := b.Client().ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
		CredentialId: "sendpulse-oauth",
		Version:      decoration.GetVersion(),
		HttpStatus:   int32(status),
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(report.GetOutcome())
	fmt.Println("with its successor:", callSendPulse(ctx, t, b, report.GetAuthDecoration()))

	// Output:
	// with the revoked token: 401
	// OUTCOME_REPLACED
	// with its successor: 200
}

// The service under test calls an API that the user has defined in YAML. The simulator simulates the API
// from the definition, and at last rejects the key.
func ExampleBroker_Account() {
	t := newExampleT() // in your own test, pass the test's *testing.T instead
	defer t.end()

	b := brokertest.New(t,
		brokertest.WithProvider(`
id: acme
display_name: Acme
allowed_hosts: ["${subdomain}.acme.example.com"]
auth_methods:
  - id: api_key
    display_name: API key
    fields:
      - {id: subdomain, display_name: Subdomain, required: true, secret: false}
      - {id: key, display_name: Key, required: true, secret: true}
    headers: [{name: X-Acme-Key, value: "${key}"}]
`),
		brokertest.WithCredentials(brokertest.Credential{
			ID: "acme", Provider: "acme", AuthMethod: "api_key", Simulated: true, Values: map[string]string{"subdomain": "shop"},
		}))
	acme := b.HTTPClientWith("acme")
	call := func() {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://shop.acme.example.com/orders", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := acme.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		fmt.Println(response.StatusCode)
	}
	call()
	b.Account("acme").RejectKey()
	call()

	// Output:
	// 200
	// 401
}

func callSendPulse(ctx context.Context, t testing.TB, b *brokertest.Broker, decoration *authmaterialv1.AuthDecoration) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.sendpulse.com/user/info", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Apply(request, decoration); err != nil {
		t.Fatal(err)
	}
	response, err := b.HTTPClient().Do(request)
	if err != nil {
		t.Fatal("SendPulse cannot be reached")
	}
	defer response.Body.Close()
	return response.StatusCode
}

// exampleT replaces *testing.T, which Go does not give to examples.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func newExampleT() *exampleT { return new(exampleT) }

func (t *exampleT) Helper()                   {}
func (t *exampleT) Output() io.Writer         { return io.Discard }
func (t *exampleT) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (t *exampleT) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func (t *exampleT) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
