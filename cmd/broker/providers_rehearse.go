package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/exchange"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/jsonpath"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
	"github.com/authmaterial/broker/internal/verification"
)

// rehearsal tries a credential at its provider, and prints what happened.
type rehearsal struct {
	*screen
	credential *credentials.Credential
	recorder   *exchange.Recorder
	event      *strategies.TokenRequestEvent // of the token request; nil if there was none
	issued     *token.Token                  // nil if no token was issued
	tokenSteps int                           // the number of exchanges before the verification
}

// rehearse prints the token request and the verification of a credential. The error is errVerification
// if the provider did not accept the credential.
func rehearse(ctx context.Context, out *screen, credential *credentials.Credential) error {
	r := &rehearsal{screen: out, credential: credential, recorder: exchange.NewRecorder(egress.NewTransport(egress.Options{}))}
	client := strategies.NewTokenClient(strategies.TokenClientOptions{
		Transport: r.recorder, UserAgent: "authmaterial-broker/" + version,
		Observe: func(event strategies.TokenRequestEvent) {
			r.event, r.tokenSteps = &event, len(r.recorder.Exchanges())
		},
	})
	if credential.Method.Verification == nil {
		return r.tokenOnly(ctx, client)
	}
	verifier := verification.New(verification.Options{
		Transport: r.recorder, TokenClient: client, UserAgent: "authmaterial-broker/" + version,
	})
	result, err := verifier.Verify(ctx, credential, nil)
	r.issued = result.Token
	r.print()
	if err != nil {
		return withoutReason(err)
	}
	r.printResult(result)
	if result.Outcome != catalog.Accepted {
		return errVerification
	}
	return nil
}

// tokenOnly tries an auth method without a verification.
func (r *rehearsal) tokenOnly(ctx context.Context, client *strategies.TokenClient) error {
	const advice = "The definition has no `verification`, so no call of the API was made."
	if r.credential.Method.HasToken() {
		source, err := strategies.NewTokenSource(r.credential, client)
		if err != nil {
			return err
		}
		issued, err := source.RequestToken(ctx)
		r.issued = issued
		r.print()
		if err != nil {
			return withoutReason(err)
		}
	}
	_, err := fmt.Fprintln(r, advice)
	return err
}

func withoutReason(err error) error {
	if failed, ok := errors.AsType[*fault.Error](err); ok {
		return errors.New(printable(failed.Message))
	}
	return err
}

// print prints every exchange, and what the token request resulted in.
func (r *rehearsal) print() {
	exchanges := r.recorder.Exchanges()
	printer := &exchange.Printer{
		Line: func(text string) { fmt.Fprintln(r, strings.TrimRight("  "+printable(text), " ")) },
		Mask: exchange.Secrets(r.credential, exchanges),
	}
	request := r.credential.Method.TokenRequest
	for i, e := range exchanges {
		title := "Verification"
		if i < r.tokenSteps {
			title = "Token request"
			if i < len(request.First) && r.tokenSteps > 1 {
				title = fmt.Sprintf("Request %q, before the token request", request.First[i].ID)
			}
		}
		fmt.Fprintf(r, "%s\n", r.bold(fmt.Sprintf("%d. %s", i+1, title)))
		printer.Print(e, i < r.tokenSteps)
		fmt.Fprintln(r)
		if i+1 == r.tokenSteps {
			r.printToken(e)
		}
	}
	if r.credential.Method.JWT != nil && r.issued != nil {
		fmt.Fprintf(r, "The token is a JWT that the broker signs itself. Its lifetime is %s.\n", r.issued.Lifetime)
	}
}

// printToken prints how the answer to the token request was understood.
func (r *rehearsal) printToken(last *exchange.Exchange) {
	response := &r.credential.Method.TokenRequest.Response
	if failure := r.event.Err; failure != nil {
		fmt.Fprintf(r, "  %s\n", printable(failure.Message+"."))
		r.printWrapped("  ", r.reason(last))
		fmt.Fprintln(r)
		return
	}
	var list rows
	list.add("token", "found at "+response.Token.String())
	if r.issued != nil {
		list.add("lifetime", r.issued.Lifetime.Round(time.Millisecond).String()+", "+lifetimeSource(response, r.issued))
	}
	for name, location := range response.Values {
		list.add("response."+name, "found at "+location.String())
	}
	slices.SortFunc(list, func(a, b [2]string) int { return strings.Compare(b[0], a[0]) })
	r.printRows("  ", list)
	fmt.Fprintln(r)
}

func lifetimeSource(response *catalog.Response, issued *token.Token) string {
	switch {
	case issued.Assumed:
		return "the default_lifetime, because the answer has none that can be read"
	case response.TokenExpires:
		return "from the claim exp of the token"
	case response.ExpiresAt != nil:
		return "from the time at " + response.ExpiresAt.String()
	}
	return "from " + response.Lifetime.String()
}

// reason explains why the answer to a token request has no token.
func (r *rehearsal) reason(last *exchange.Exchange) string {
	switch {
	case last.Response == nil:
		return ""
	case r.event.Err.Reason != fault.CredentialRejected:
		return "This does not count as a refusal of the credential: the broker would try again later."
	}
	body, err := jsonpath.Decode(last.Received())
	for i, condition := range r.credential.Method.TokenRequest.Response.Refused {
		if condition.Matches(last.Response.StatusCode, last.Response.Header, body, err == nil) {
			return fmt.Sprintf("The credential counts as refused, because the answer matches item %d of response.refused.", i+1)
		}
	}
	if r.event.OAuthError != "" {
		return "The credential counts as refused, because of the OAuth error code " + r.event.OAuthError + "."
	}
	return "The credential counts as refused, because of the status with a JSON object in the body."
}

func (r *rehearsal) printResult(result verification.Result) {
	r.printWrapped("", strings.ToLower(string(result.Outcome))+": "+result.Explanation)
	method := r.credential.Method
	exchanges := r.recorder.Exchanges()
	if result.Outcome == catalog.Refused && len(exchanges) > r.tokenSteps && !slices.Contains(method.RejectedStatuses, result.HTTPStatus) {
		r.printWrapped("", fmt.Sprintf("HTTP %d is none of rejected_statuses: if the API answers other calls with a wrong key in the same way, add it.", result.HTTPStatus))
	}
}
