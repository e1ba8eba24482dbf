package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/exchange"
	"github.com/authmaterial/broker/internal/fault"
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
// if the provider did not accept the credential. The parameter `kept` is nil unless the provider replaces
// refresh tokens.
func rehearse(ctx context.Context, out *screen, credential *credentials.Credential, kept *refreshFile) error {
	r := &rehearsal{screen: out, credential: credential, recorder: exchange.NewRecorder(egress.NewTransport(egress.Options{}))}
	options := strategies.TokenClientOptions{
		Transport: r.recorder, UserAgent: "authmaterial-broker/" + version,
		Observe: func(event strategies.TokenRequestEvent) {
			r.event, r.tokenSteps = &event, len(r.recorder.Exchanges())
		},
	}
	if kept != nil {
		options.RefreshTokens = kept
	}
	client := strategies.NewTokenClient(options)
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
		Mask: exchange.Secrets(r.credential, exchanges), Headers: exchange.Headers(r.credential.Method),
	}
	request := r.credential.Method.TokenRequest
	printer.SignsJWTs = r.credential.Method.JWT != nil || request != nil && request.JWT != nil
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
		if len(exchanges) == 0 { // otherwise, a request has the JWT
			printer.PrintJWTs(r.issued.Value.Reveal())
		}
		fmt.Fprintf(r, "The token is a JWT that the broker signs itself. Its lifetime is %s.\n", r.credential.Method.JWT.Lifetime)
	}
}
