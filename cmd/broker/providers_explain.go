package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/exchange"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/jsonpath"
	"github.com/authmaterial/broker/internal/token"
	"github.com/authmaterial/broker/internal/verification"
)

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
	exchanges := r.recorder.Exchanges()
	if result.Outcome == catalog.Refused && len(exchanges) > r.tokenSteps && !r.isRejection(exchanges[len(exchanges)-1]) {
		r.printWrapped("", fmt.Sprintf("HTTP %d is none of rejected_statuses: if the API answers other calls with a wrong key in the same way, add it.", result.HTTPStatus))
	}
}

// isRejection reports whether callers report an answer as a rejection.
func (r *rehearsal) isRejection(e *exchange.Exchange) bool {
	method, status := r.credential.Method, e.Response.StatusCode
	body, err := jsonpath.Decode(e.Received())
	return slices.Contains(method.RejectedStatuses, status) || slices.ContainsFunc(method.RejectedWhen, func(condition catalog.Condition) bool {
		return condition.Matches(status, e.Response.Header, body, err == nil)
	})
}
