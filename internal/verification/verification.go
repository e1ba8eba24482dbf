// Package verification tries whether a provider accepts the values of a credential.
//
// A verification sends secrets to the provider and may spend the provider's quota. The caller of
// this package must authorise each verification, limit verifications with Limit, and write the
// audit log.
package verification

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

const (
	requestTimeout = 10 * time.Second // limit for the answer to one request
	totalTimeout   = 30 * time.Second // limit for a token request and the requests to all hosts together
	maxAnswerSize  = 1 << 20          // bytes, after decompression
)

// Result is the outcome of a verification.
type Result struct {
	Outcome catalog.Outcome
	// Explanation is one or more sentences for people. It quotes nothing that the provider sent,
	// except registered OAuth error codes. Explanation is the same for every request without a
	// complete answer, so that verifications cannot be used to scan a network.
	Explanation string
	// HTTPStatus is the status of the answer that determined the outcome, or 0 if no complete
	// answer arrived.
	HTTPStatus int
	// Time is the wall-clock time at which the verification ended.
	Time time.Time
	// Token was issued during the verification, whatever its outcome. It is nil if no token was
	// issued. If Token.EndsPrevious is set, the credential's earlier tokens are now invalid.
	Token *token.Token
}

// Options configure a Verifier. The zero value is usable.
type Options struct {
	// Transport sends the requests. It must not follow redirects. If Transport is nil, the Verifier
	// uses an egress.Transport.
	Transport http.RoundTripper
	// TokenClient requests tokens. If TokenClient is nil, the Verifier makes one with the other
	// options.
	TokenClient *strategies.TokenClient
	// Clock measures the lifetimes of tokens. If Clock is nil, the Verifier uses the clock of the
	// machine.
	Clock clockwork.Clock
	// UserAgent is the value of the header User-Agent. If UserAgent is empty, the header is not
	// sent.
	UserAgent string
}

// Verifier tries credentials at their providers. It is safe for concurrent use.
type Verifier struct{ options Options }

// New returns a Verifier with these options.
func New(options Options) *Verifier {
	if options.Transport == nil {
		options.Transport = egress.NewTransport(egress.Options{})
	}
	if options.Clock == nil {
		options.Clock = clockwork.NewRealClock()
	}
	if options.TokenClient == nil {
		options.TokenClient = strategies.NewTokenClient(strategies.TokenClientOptions{
			Transport: options.Transport, Clock: options.Clock, UserAgent: options.UserAgent,
		})
	}
	return &Verifier{options: options}
}

// Verify tries a credential, which strategies.Check must accept. It takes at most 30 seconds.
//
// For a token method, Verify requests a token, unless the caller passes the current token to try
// instead. A token request ends the current token if the method ends its previous tokens.
//
// The error is a *fault.Error with the reason VerificationUnsupported, or RateLimited if too many
// tokens were requested for the client, or StoreUnavailable if a refresh token could not be read or
// stored.
func (v *Verifier) Verify(ctx context.Context, credential *credentials.Credential, current *token.Token) (Result, error) {
	method := credential.Method
	if method.Verification == nil {
		return Result{}, fault.New(fault.VerificationUnsupported, fmt.Sprintf(
			"the definition of auth method %q of %s has no `verification`, so its credentials cannot be verified",
			method.ID, credential.Provider.DisplayName))
	}
	targets, err := targetsOf(credential)
	if err != nil {
		return Result{}, fault.New(fault.VerificationUnsupported, fmt.Sprintf(
			"the credential cannot be verified with these values: %s", err))
	}
	ctx, cancel := context.WithTimeout(ctx, totalTimeout)
	defer cancel()
	t := trial{options: v.options, credential: credential, targets: targets, subject: theCredential}
	switch {
	case !method.HasToken():
		return t.tryHosts(ctx, secret.Text{})
	case current != nil:
		t.subject = theCurrentToken
		return t.tryHosts(ctx, current.Value)
	}
	issued, result, err := t.requestToken(ctx)
	if issued == nil || err != nil {
		return result, err
	}
	t.subject = theIssuedToken
	if method.JWT != nil {
		t.subject = theSignedToken
	}
	result, err = t.tryHosts(ctx, issued.Value)
	result.Token = issued
	return result, err
}
