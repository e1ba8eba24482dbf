package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/simulated"
)

// demoCalls returns the calls that the demo makes: those of the four simulated providers, or those of
// the given built-in providers.
func demoCalls(sim *simulator.Simulator, providers []string) ([]simulated.Call, error) {
	if len(providers) == 0 {
		return simulated.Calls(sim), nil
	}
	for i, id := range providers {
		if slices.Contains(providers[:i], id) {
			return nil, misused("--provider: %q is named twice: name each provider once", id)
		}
	}
	return simulated.AddAccounts(sim, providers)
}

// demoConfig returns the configuration of the demo without a store. The credential of the first call may
// also be sent to the address of the provider, unless the provider is nil.
func demoConfig(calls []simulated.Call, provider *demoProvider) string {
	var hosts []string
	if provider != nil {
		hosts = append(hosts, provider.address.String())
	}
	if calls[0].Account != nil {
		return string(simulated.ConfigOf(calls, hosts...))
	}
	text := string(simulated.Config)
	if provider != nil {
		const method = "    auth_method: oauth2_client_credentials\n" // of the first call
		text = strings.Replace(text, method, method+fmt.Sprintf("    allowed_hosts: [%q]\n", hosts[0]), 1)
	}
	return text
}

// showRejections makes the providers reject the material of each credential, reports the rejections, and
// prints what happens.
func showRejections(
	ctx context.Context, out io.Writer, connection *grpc.ClientConn, providers http.RoundTripper, calls []simulated.Call,
) error {
	fmt.Fprint(out, "\nNow each provider revokes the token, or rejects the key. The service reports this to the broker.\n\n")
	for _, call := range calls {
		ctx, cancel := context.WithTimeout(ctx, demoTimeout)
		err := showRejection(ctx, out, authmaterialv1.NewBrokerServiceClient(connection), providers, call)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", call.Credential, err)
		}
	}
	return nil
}

func showRejection(
	ctx context.Context, out io.Writer, broker authmaterialv1.BrokerServiceClient, providers http.RoundTripper, call simulated.Call,
) error {
	decorated, err := broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: call.Credential})
	if err != nil {
		return err
	}
	call.Account.RevokeTokens()
	if decorated.GetAuthDecoration().GetExpireTime() == nil {
		call.Account.RejectKey()
	}
	status, err := callWith(ctx, providers, call, decorated.GetAuthDecoration())
	if err != nil {
		return err
	}
	report, err := broker.ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
		CredentialId: call.Credential, Version: decorated.GetAuthDecoration().GetVersion(), HttpStatus: status,
	})
	if err != nil {
		return err
	}
	outcome := strings.TrimPrefix(report.GetOutcome().String(), "OUTCOME_")
	fmt.Fprintf(out, "  %s: a call with it: %s\n    reported to the broker: %s\n", call.Credential, statusText(status), outcome)
	if report.GetOutcome() == authmaterialv1.ReportRejectionResponse_OUTCOME_NOT_REPLACEABLE {
		fmt.Fprint(out, "    The broker has no other key. A person rotates the credential.\n")
		return nil
	}
	if status, err = callWith(ctx, providers, call, report.GetAuthDecoration()); err != nil {
		return err
	}
	if status != http.StatusOK {
		return errors.New("the provider did not accept the new token: " + statusText(status))
	}
	fmt.Fprintf(out, "    a call with the new token: %s: accepted\n", statusText(status))
	return nil
}

func statusText(status int32) string {
	return fmt.Sprintf("%d %s", status, http.StatusText(int(status)))
}

// callWith makes a call with a decoration, once, and returns the HTTP status.
func callWith(
	ctx context.Context, providers http.RoundTripper, call simulated.Call, decoration *authmaterialv1.AuthDecoration,
) (status int32, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, call.URL, nil)
	if err != nil {
		return 0, err
	}
	if err := client.Apply(request, decoration); err != nil {
		return 0, err
	}
	response, err := providers.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	return int32(response.StatusCode), response.Body.Close() //nolint:gosec // a status has three digits
}
