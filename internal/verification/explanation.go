package verification

import (
	"fmt"
	"net/http"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/strategies"
)

// subject is what a provider is asked to accept. Its fields are parts of explanations, whose
// subject is the provider.
type subject struct{ accepted, refused, remark string }

var (
	theCredential   = subject{accepted: "accepted the credential", refused: "refused the credential"}
	theIssuedToken  = subject{accepted: "issued a token and accepted it", refused: "issued a token, but refused it"}
	theSignedToken  = subject{accepted: "accepted the token that the broker signed", refused: "refused the token that the broker signed"}
	theCurrentToken = subject{
		accepted: "accepted the current token",
		refused:  "refused the current token, which may have been revoked",
		remark:   " The client ID and the client secret were not tried.",
	}
)

// interpret returns the finding that follows from an answer. The parameter `where` is " at HOST",
// or empty if there is only one host.
func (t *trial) interpret(a answer, where string) finding {
	described := a.match(t.credential.Method.Verification)
	if described == nil || described.Outcome == catalog.Inconclusive && described.Explanation == "" {
		return finding{catalog.Inconclusive, t.undecided(a, where), a.status}
	}
	explanation := t.credential.Provider.DisplayName + " "
	outcome := described.Outcome
	switch outcome {
	case catalog.Accepted:
		explanation += t.subject.accepted
	case catalog.Refused:
		explanation += t.subject.refused
		if t.subject == theCurrentToken {
			outcome = catalog.Inconclusive
		}
	case catalog.Inconclusive:
		explanation += "neither accepted nor refused the credential"
	}
	explanation += fmt.Sprintf("%s (HTTP %d).%s", where, a.status, t.subject.remark)
	if described.Explanation != "" {
		explanation += " " + described.Explanation
	}
	return finding{outcome, explanation, a.status}
}

// `undecided` explains an answer whose meaning the definition does not describe. The parameter
// `where` becomes part of the explanation, and is " at HOST", " the token request" or empty.
func (t *trial) undecided(a answer, where string) string {
	provider := t.credential.Provider.DisplayName
	switch class := a.status / 100; {
	case a.status == http.StatusTooManyRequests:
		return t.limited(a.status)
	case class == 3:
		return fmt.Sprintf("%s answered%s with a redirect, which is not followed (HTTP %d).", provider, where, a.status)
	case class == 5:
		return fmt.Sprintf("%s could not answer%s (HTTP %d). Try again later.", provider, where, a.status)
	case a.isHTML:
		return fmt.Sprintf("%s answered%s with an HTML page, as proxies and login pages do (HTTP %d).", provider, where, a.status)
	case a.tooLarge:
		return fmt.Sprintf("%s answered%s with more than 1 MiB (HTTP %d).", provider, where, a.status)
	default:
		return fmt.Sprintf("%s answered%s in a way that neither accepts nor refuses the credential (HTTP %d).", provider, where, a.status)
	}
}

func (t *trial) limited(status int) string {
	return fmt.Sprintf("%s limits the number of requests (HTTP %d). Try again later.", t.credential.Provider.DisplayName, status)
}

// `unreachable` returns the finding of a request without a complete answer, which is the same for all
// causes.
func (t *trial) unreachable(where string) finding {
	explanation := fmt.Sprintf("%s cannot be reached%s, or its answer did not arrive completely. Try again later.",
		t.credential.Provider.DisplayName, where)
	return finding{catalog.Inconclusive, explanation, 0}
}

// withoutToken returns the finding of a verification whose token request failed.
func (t *trial) withoutToken(event strategies.TokenRequestEvent) finding {
	switch reason := event.Err.Reason; {
	case reason == fault.CredentialRejected:
		return finding{catalog.Refused, event.Err.Message + ".", event.Status}
	case event.Status == 0:
		return t.unreachable("")
	case reason == fault.ProviderRateLimited:
		return finding{catalog.Inconclusive, t.limited(event.Status), event.Status}
	default:
		return finding{catalog.Inconclusive, t.undecided(answer{status: event.Status}, " the token request"), event.Status}
	}
}
